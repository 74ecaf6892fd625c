module fairway.dev/e2e/noop

go 1.26
