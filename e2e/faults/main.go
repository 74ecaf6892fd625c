// Faults stands between an operator and the API server and does to its requests what networks, API servers and deaths do:
// it counts writes, kills the operator before or after the n-th, answers with errors, lets answers be lost, and serves
// lists as they were a while ago. The operator is not changed for it: its kubeconfig names this proxy.
//
//	faults -upstream https://10.200.0.1:6443 -ca ca.crt -token TOKEN -listen 127.0.0.1:0 -kubeconfig out -log writes.log
//
// Rules come as JSON by POST /faults, replacing those before; GET /faults says how many writes went by since, and how many
// requests of each kind ever did.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Rules say what happens to requests from now on.
type Rules struct {
	// KillAt: SIGKILL for Pid at the so many-th write, counted from when the rules came; 0: never.
	KillAt int `json:"killAt"`
	// KillWhen: "before" it is sent on, or "after" it was carried out and before the answer is given.
	KillWhen string `json:"killWhen"`
	Pid      int    `json:"pid"`
	// Answers are given instead of the API server's own.
	Answers []Answer `json:"answers"`
	// StaleVersion: lists are served as they were at this resourceVersion.
	StaleVersion string `json:"staleVersion"`
	StalePath    string `json:"stalePath"`
}

// Answer is given to requests that match, so many times.
type Answer struct {
	Method string `json:"method"`
	Path   string `json:"path"` // a regular expression
	Code   int    `json:"code"` // 0: no answer at all, the connection is cut
	Times  int    `json:"times"`
	// Applied: the request was carried out, and its answer is lost.
	Applied bool   `json:"applied"`
	Retry   string `json:"retryAfter"`
}

type proxy struct {
	mu       sync.Mutex
	rules    Rules
	writes   int
	all      counter
	given    []int
	log      io.Writer
	upstream *httputil.ReverseProxy
}

func main() {
	upstream := flag.String("upstream", "", "URL of the API server")
	ca := flag.String("ca", "", "its CA certificate, PEM")
	token := flag.String("token", "", "bearer token to use")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	kubeconfig := flag.String("kubeconfig", "", "file to write: a kubeconfig that names this proxy")
	logFile := flag.String("log", "", "file to append a line for each write to")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil || *upstream == "" {
		log.Fatal("-upstream: the API server's URL is missing or none")
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatalf("%s holds no certificate", *ca)
	}
	p := &proxy{log: io.Discard}
	if *logFile != "" {
		file, err := os.OpenFile(*logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			log.Fatal(err)
		}
		p.log = file
	}
	p.upstream = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+*token)
		},
		FlushInterval: -1, // watches are streams
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			MaxIdleConnsPerHost: 64,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	if *kubeconfig != "" {
		text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"faults",
"clusters":[{"name":"faults","cluster":{"server":%q}}],
"users":[{"name":"faults","user":{}}],
"contexts":[{"name":"faults","context":{"cluster":"faults","user":"faults"}}]}`, address)
		if err := os.WriteFile(*kubeconfig, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(address)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", p.set)
	mux.HandleFunc("GET /faults", p.tell)
	mux.HandleFunc("/", p.serve)
	log.Fatal(http.Serve(listener, mux))
}

func (p *proxy) set(w http.ResponseWriter, r *http.Request) {
	var rules Rules
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&rules); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, answer := range rules.Answers {
		if _, err := regexp.Compile(answer.Path); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.writes, p.given = rules, 0, make([]int, len(rules.Answers))
}

func (p *proxy) tell(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	json.NewEncoder(w).Encode(map[string]any{"writes": p.writes, "given": p.given, "requests": p.all.told()})
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.all.count(r)
	isWrite := r.Method != http.MethodGet && r.Method != http.MethodHead && !isOurOwn(r.URL.Path)
	p.mu.Lock()
	if isWrite {
		p.writes++
		fmt.Fprintf(p.log, "%s %d %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), p.writes, r.Method, r.URL.Path)
	}
	kill := isWrite && p.rules.KillAt == p.writes
	rules := p.rules
	answer := p.answer(r)
	p.mu.Unlock()

	if kill && rules.KillWhen == "before" {
		die(rules.Pid)
		cut(w)
		return
	}
	if answer != nil {
		if answer.Applied {
			p.upstream.ServeHTTP(discard{http.Header{}}, r)
		}
		if answer.Code == 0 {
			cut(w)
			return
		}
		if answer.Retry != "" {
			w.Header().Set("Retry-After", answer.Retry)
		}
		status(w, answer.Code)
		return
	}
	if rules.StaleVersion != "" && r.Method == http.MethodGet && strings.Contains(r.URL.Path, rules.StalePath) {
		query := r.URL.Query()
		if query.Get("watch") == "" {
			query.Set("resourceVersion", rules.StaleVersion)
			query.Set("resourceVersionMatch", "Exact")
			query.Del("continue")
			r.URL.RawQuery = query.Encode()
		}
	}
	if kill {
		p.upstream.ServeHTTP(discard{http.Header{}}, r)
		die(rules.Pid)
		cut(w)
		return
	}
	p.upstream.ServeHTTP(w, r)
}

// answer gives the first rule that matches and is not used up. The lock is held.
func (p *proxy) answer(r *http.Request) *Answer {
	for i := range p.rules.Answers {
		rule := &p.rules.Answers[i]
		if rule.Method != "" && rule.Method != r.Method || p.given[i] >= rule.Times {
			continue
		}
		if regexp.MustCompile(rule.Path).MatchString(r.URL.Path) {
			p.given[i]++
			return rule
		}
	}
	return nil
}

// isOurOwn: leases and Events are written on no account of any decision.
func isOurOwn(path string) bool {
	return strings.Contains(path, "/leases") || strings.Contains(path, "/events")
}

func die(pid int) {
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if connection, _, err := hijacker.Hijack(); err == nil {
			connection.Close()
		}
	}
}

func status(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
		"reason": http.StatusText(code), "message": fmt.Sprintf("made up by the test: %d", code),
	})
}

// discard takes an answer that is lost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
