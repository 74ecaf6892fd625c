//go:build tools

// Package tools pins KEDA: its operator and the server of its metrics. It is a module of its own because it needs other library
// versions than the cluster's programs.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
