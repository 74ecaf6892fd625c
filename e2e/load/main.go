// Load asks an endpoint for recommendations at a steady rate, whether answers come or not, and writes a line for each
// request, so that a test can say what users noticed during each fault.
//
//	load -url http://10.202.0.7 -rate 40 -log requests.csv
//
// A line: when it was asked (ms since 1970), how long it took (µs), how it ended, who answered.
//
//	ok        answered with a list
//	refused   nobody took the connection within the deadline, although it was tried again every 50 ms
//	cut       the connection broke after the request was sent
//	slow      no answer within the deadline
//	N         the HTTP status, where it is not 200
//
// A connection that nobody takes is tried again, as clients and proxies do: nothing was sent. What was sent is not repeated.
// A visitor waits 2 s. Of three answers one is followed by a purchase of the first item, so that rollouts have a reward to
// judge by.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	patience = 2 * time.Second
	again    = 50 * time.Millisecond
	// Before the router closes an idle connection, which it does after 5 s.
	kept = 3 * time.Second
)

type shop struct {
	url    string
	client *http.Client
	users  int
	mu     sync.Mutex
	log    *os.File
}

type answer struct {
	Decision string `json:"decision"`
	Items    []struct {
		Item string `json:"item"`
	} `json:"items"`
	ServedBy string `json:"served_by"`
}

func main() {
	url := flag.String("url", "", "URL of the endpoint")
	rate := flag.Float64("rate", 40, "requests a second")
	users := flag.Int("users", 4000, "users, whose names are u0, u1 …")
	file := flag.String("log", "requests.csv", "file to write a line for each request to")
	flag.Parse()
	out, err := os.Create(*file)
	if err != nil {
		log.Fatal(err)
	}
	s := &shop{url: *url, users: *users, log: out, client: &http.Client{Transport: &http.Transport{
		IdleConnTimeout: kept, MaxIdleConnsPerHost: 64, DisableCompression: true,
	}}}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	tick := time.NewTicker(time.Duration(float64(time.Second) / *rate))
	var all sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			all.Wait()
			return
		case <-tick.C:
			all.Go(s.visit)
		}
	}
}

func (s *shop) visit() {
	user := fmt.Sprintf("u%d", rand.IntN(s.users))
	began := time.Now()
	given, how := s.ask(user, began.Add(patience))
	by := given.ServedBy
	if by == "" {
		by = "-"
	}
	s.mu.Lock()
	fmt.Fprintf(s.log, "%d,%d,%s,%s\n", began.UnixMilli(), time.Since(began).Microseconds(), how, by)
	s.mu.Unlock()
	if how == "ok" && len(given.Items) > 0 && rand.IntN(3) == 0 {
		s.buy(user, given)
	}
}

func (s *shop) ask(user string, until time.Time) (answer, string) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	body, _ := json.Marshal(map[string]any{"user": user, "k": 10})
	for {
		given, how := s.once(ctx, "/v1/recommend", body)
		if how != "refused" || time.Until(until) <= again {
			return given, how
		}
		time.Sleep(again)
	}
}

func (s *shop) buy(user string, given answer) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body, _ := json.Marshal([]map[string]any{{
		"user": user, "item": given.Items[0].Item, "kind": "purchase", "decision": given.Decision,
	}})
	s.once(ctx, "/v1/events", body)
}

func (s *shop) once(ctx context.Context, path string, body []byte) (answer, string) {
	var given answer
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return given, why(ctx, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return given, why(ctx, err)
	}
	if response.StatusCode != http.StatusOK {
		return given, fmt.Sprint(response.StatusCode)
	}
	if path == "/v1/recommend" && (json.Unmarshal(text, &given) != nil || len(given.Items) == 0) {
		return given, "empty"
	}
	return given, "ok"
}

func why(ctx context.Context, err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return "refused"
	}
	if ctx.Err() != nil {
		return "slow"
	}
	return "cut"
}
