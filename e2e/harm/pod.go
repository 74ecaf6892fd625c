package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Where `harm traffic` tells how often a version fails: on the node, which pods reach.
const told = "http://10.200.0.1:61950/errors?version="

// serve starts the real server on another port and stands before it.
func serve(args []string) {
	const inner = "127.0.0.1:18080"
	listen, version := "", ""
	for i, arg := range args {
		if value, is := strings.CutPrefix(arg, "--listen="); is {
			listen, args[i] = value, "--listen="+inner
		}
		if value, is := strings.CutPrefix(arg, "--version="); is {
			version = value
		}
	}
	real := exec.Command(fairway, args...)
	real.Stdout, real.Stderr = os.Stdout, os.Stderr
	if err := real.Start(); err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { real.Process.Signal(<-signals) }()

	var errors atomic.Uint64 // of a million
	go func() {
		for {
			errors.Store(uint64(1e6 * ask(version)))
			time.Sleep(time.Second)
		}
	}()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: inner})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	go func() {
		log.Fatal(http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/infer") && rand.Uint64N(1e6) < errors.Load() {
				io.Copy(io.Discard, r.Body)
				http.Error(w, `{"error":"made up by the test"}`, http.StatusInternalServerError)
				return
			}
			proxy.ServeHTTP(w, r)
		})))
	}()
	if err := real.Wait(); err != nil {
		log.Print(err)
	}
	os.Exit(real.ProcessState.ExitCode())
}

func ask(version string) float64 {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get(told + url.QueryEscape(version))
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64))
	share, _ := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	return share
}

// answer says which version it is, and fails as often as its manifest says.
func answer(args []string) {
	flags := flag.NewFlagSet("answer", flag.ExitOnError)
	version := flags.String("version", "", "what it says that it is")
	errors := flags.Float64("errors", 0, "share of requests that fail")
	flags.Parse(args)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { <-signals; time.Sleep(2 * time.Second); os.Exit(0) }()
	log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", *version)
		if r.URL.Path != "/ready" && rand.Float64() < *errors {
			http.Error(w, "made up by the test", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "ok")
	})))
}
