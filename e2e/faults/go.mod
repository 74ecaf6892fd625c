module fairway.dev/e2e/faults

go 1.26
