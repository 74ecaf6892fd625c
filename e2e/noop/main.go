// Noop plays the routers of pods that do nothing (e2e/kwok). Their addresses are local to this machine, and it listens on all
// of them: the address that is asked says which router it is. It answers as one that has taken its orders and whom no user
// asks.
//
//	noop -listen 0.0.0.0:8081 -installed sha256:...
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

func main() {
	listen := flag.String("listen", "0.0.0.0:8081", "address to listen on")
	installed := flag.String("installed", "", "digests that every router has installed, separated by commas")
	flag.Parse()
	digests := strings.Split(*installed, ",")
	var polls atomic.Int64
	http.HandleFunc("POST /v1/poll", func(w http.ResponseWriter, r *http.Request) {
		var poll struct {
			Generation uint64 `json:"generation"`
		}
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&poll); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		polls.Add(1)
		address, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"replica": "noop-" + address, "generation": poll.Generation, "installed": digests, "aborted": false,
			"windows": []any{}, "lost": 0,
		})
	})
	http.HandleFunc("GET /polls", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, polls.Load()) })
	log.Fatal(http.ListenAndServe(*listen, nil))
}
