package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Target is asked `Rate` times a second.
type Target struct {
	Name string  `json:"name"`
	URL  string  `json:"url"`
	Rate float64 `json:"rate"`
	// Fairway: it is a router of ours, whose answers say whom they are of; else Argo's pods, which say so in a header.
	Fairway bool `json:"fairway"`

	mu     sync.Mutex
	counts map[string]map[int64]*count // by track, then by second
	lost   int                         // requests without an answer
	stop   chan struct{}
}

type count struct{ requests, bad int }

// Total is what a track has answered since the beginning.
type Total struct {
	Requests int     `json:"requests"`
	Bad      int     `json:"bad"`
	First    float64 `json:"first"` // seconds since 1970 of its first and last answer
	Last     float64 `json:"last"`
	LastBad  float64 `json:"lastBad"`
}

const (
	users   = 5000
	atOnce  = 64
	patient = 5 * time.Second
)

func traffic(args []string) {
	flags := flag.NewFlagSet("traffic", flag.ExitOnError)
	listen := flags.String("listen", "10.200.0.1:61950", "where it is steered, and asked")
	flags.Parse(args)
	var mu sync.Mutex
	targets, shares := map[string]*Target{}, map[string]float64{}

	http.HandleFunc("POST /errors", func(w http.ResponseWriter, r *http.Request) {
		share, err := strconv.ParseFloat(r.URL.Query().Get("share"), 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		shares[r.URL.Query().Get("version")] = share
	})
	http.HandleFunc("GET /errors", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(w, shares[r.URL.Query().Get("version")])
	})
	http.HandleFunc("POST /targets", func(w http.ResponseWriter, r *http.Request) {
		target := &Target{counts: map[string]map[int64]*count{}, stop: make(chan struct{})}
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(target); err != nil || target.Rate <= 0 {
			http.Error(w, "a target has a name, an URL and a rate", http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if before := targets[target.Name]; before != nil {
			close(before.stop)
		}
		targets[target.Name] = target
		go target.run()
	})
	http.HandleFunc("DELETE /targets/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if target := targets[r.PathValue("name")]; target != nil {
			close(target.stop)
			delete(targets, r.PathValue("name"))
		}
	})
	http.HandleFunc("GET /targets/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		target := targets[r.PathValue("name")]
		mu.Unlock()
		if target == nil {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(target.totals())
	})
	// What an analysis asks for: the share of good answers of the canary in the last seconds.
	http.HandleFunc("GET /success/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		target := targets[r.PathValue("name")]
		mu.Unlock()
		window, err := strconv.Atoi(r.URL.Query().Get("window"))
		if target == nil || err != nil {
			http.NotFound(w, r)
			return
		}
		requests, bad := target.lately("canary", int64(window))
		share := 1.0
		if requests > 0 {
			share = 1 - float64(bad)/float64(requests)
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"share": share, "requests": requests, "bad": bad})
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}

func (t *Target) run() {
	client := &http.Client{Timeout: patient, Transport: &http.Transport{
		MaxIdleConnsPerHost: atOnce,
		// A Service spreads connections, not requests.
		DisableKeepAlives: !t.Fairway,
	}}
	tick := time.NewTicker(time.Duration(float64(time.Second) / t.Rate))
	defer tick.Stop()
	room := make(chan struct{}, atOnce)
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		select {
		case room <- struct{}{}:
			go func() {
				defer func() { <-room }()
				track, bad, err := t.ask(client)
				t.took(track, bad, err)
			}()
		default:
			t.took("", false, fmt.Errorf("too many at once"))
		}
	}
}

// ask gives whose answer it was, and whether that version failed. A user whose canary failed is still answered, by stable;
// here it counts as a bad answer of the canary all the same.
func (t *Target) ask(client *http.Client) (string, bool, error) {
	if !t.Fairway {
		answer, err := client.Get(t.URL)
		if err != nil {
			return "", false, err
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		return answer.Header.Get("X-Version"), answer.StatusCode != http.StatusOK, nil
	}
	body, _ := json.Marshal(map[string]any{"user": fmt.Sprintf("u%d", rand.IntN(users)), "k": 10})
	answer, err := client.Post(t.URL, "application/json", bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	defer answer.Body.Close()
	var read struct {
		Track  string `json:"track"`
		Reason string `json:"reason"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&read); err != nil || answer.StatusCode != http.StatusOK {
		return "", false, fmt.Errorf("status %d: %v", answer.StatusCode, err)
	}
	return read.Track, read.Reason == "modelError" || read.Reason == "modelTimeout" || read.Reason == "modelInvalid", nil
}

func (t *Target) took(track string, bad bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.lost++
		return
	}
	seconds := t.counts[track]
	if seconds == nil {
		seconds = map[int64]*count{}
		t.counts[track] = seconds
	}
	now := time.Now().Unix()
	if seconds[now] == nil {
		seconds[now] = &count{}
	}
	seconds[now].requests++
	if bad {
		seconds[now].bad++
	}
}

func (t *Target) lately(track string, window int64) (requests, bad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now().Unix()
	for second, count := range t.counts[track] {
		if second >= now-window && second < now {
			requests, bad = requests+count.requests, bad+count.bad
		}
	}
	return requests, bad
}

func (t *Target) totals() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	tracks := map[string]Total{}
	for track, seconds := range t.counts {
		total := Total{}
		for second, count := range seconds {
			at := float64(second)
			total.Requests, total.Bad = total.Requests+count.requests, total.Bad+count.bad
			if total.First == 0 || at < total.First {
				total.First = at
			}
			total.Last = max(total.Last, at)
			if count.bad > 0 {
				total.LastBad = max(total.LastBad, at)
			}
		}
		tracks[track] = total
	}
	return map[string]any{"tracks": tracks, "lost": t.lost}
}
