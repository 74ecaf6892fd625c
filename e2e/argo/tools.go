//go:build tools

// Package tools pins the controller of Argo Rollouts. It is a module of its own because it needs other library versions
// than the cluster's programs.
package tools

import _ "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"
