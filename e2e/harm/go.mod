module fairway.dev/e2e/harm

go 1.26
