package main

import (
	"net/http"
	"strings"
	"sync"
)

// counter counts requests by what they are for, such as "update leases" or "watch pods".
type counter struct {
	mu    sync.Mutex
	kinds map[string]int
}

func (c *counter) count(r *http.Request) {
	kind := verb(r) + " " + resource(r.URL.Path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = map[string]int{}
	}
	c.kinds[kind]++
}

func (c *counter) told() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := make(map[string]int, len(c.kinds))
	for kind, n := range c.kinds {
		told[kind] = n
	}
	return told
}

func verb(r *http.Request) string {
	switch r.Method {
	case http.MethodGet:
		if watch := r.URL.Query().Get("watch"); watch != "" && watch != "0" && watch != "false" {
			return "watch"
		}
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPost:
		return "create"
	default:
		return strings.ToLower(r.Method)
	}
}

// resource gives the kind of what a path names, and its subresource: no names, so that there are few.
func resource(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return "discovery"
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}
