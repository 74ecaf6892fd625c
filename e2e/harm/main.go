// Harm is what the test of harm needs of its own: servers that fail as often as they are told, and traffic that counts
// whose answers were bad.
//
//	harm serve ARG...    as `fairway serve ARG...`, the real one behind a proxy that lets some requests fail (pod.go)
//	harm answer          a server for Argo Rollouts, which answers or fails (pod.go)
//	harm traffic         asks both, and tells Argo's analysis how often a version failed (traffic.go)
//
// Any other arguments are handed to the real fairway, so that an image with both is one of Fairway.
package main

import (
	"log"
	"os"
	"syscall"
)

// Where the image keeps the real one.
const fairway = "/usr/local/bin/fairway"

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		serve(os.Args[1:])
	case len(os.Args) > 1 && os.Args[1] == "answer":
		answer(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "traffic":
		traffic(os.Args[2:])
	default:
		log.Fatal(syscall.Exec(fairway, append([]string{fairway}, os.Args[1:]...), os.Environ()))
	}
}
