//go:build tools

// Package tools pins kwok, which plays a node whose pods are ready without a kubelet. It is a module of its own because it
// needs other library versions than the cluster's programs.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
