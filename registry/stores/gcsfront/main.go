// gcsfront serves the part of the Cloud Storage XML API that the Rust crate object_store speaks
// (https://cloud.google.com/storage/docs/xml-api/reference-methods), on top of fake-gcs-server, which
// takes conditional writes through its JSON API only. Objects live in memory.
//
// It is for tests on loopback: it checks no credentials, and it shows how a client handles generations
// and preconditions, not what Google's service does. A precondition that it does not know is refused.
package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

const (
	bodyMax    = 256 << 20 // bytes of one object or one part
	objectMax  = 1 << 30   // bytes of an object put together from parts
	requestMax = 4 << 20   // bytes of the list of parts that completes an upload
	partsMax   = 10_000    // parts of one upload, as in Cloud Storage
	uploadsMax = 1_000     // uploads begun and not ended
	pageMax    = 1_000     // names in one page of a list, as in Cloud Storage
)

const (
	conditionHeader  = "X-Goog-If-Generation-Match"
	generationHeader = "X-Goog-Generation"
	copyHeader       = "X-Goog-Copy-Source"
	metadataPrefix   = "X-Goog-Meta-"
)

// A front answers XML requests from a fake server.
type front struct {
	gcs *fakestorage.Server

	mu      sync.Mutex // guards all below
	uploads map[string]*upload
	begun   int // uploads so far: the source of their names
}

// A target is what a request is about: an object, or with an empty name the bucket.
type target struct {
	bucket, name string
}

// A failure is an answer other than success.
type failure struct {
	status        int
	code, message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func fail(status int, code, format string, args ...any) error {
	return &failure{status, code, fmt.Sprintf(format, args...)}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
	if err := f.answer(w, r); err != nil {
		writeFailure(w, err)
	}
}

// answer finds out what the request asks for and does it: objects.go, uploads.go, buckets.go.
func (f *front) answer(w http.ResponseWriter, r *http.Request) error {
	at, err := parseTarget(r.URL.EscapedPath())
	if err != nil {
		return err
	}
	query := r.URL.Query()
	writes := r.Method == http.MethodPut && !query.Has("uploadId")
	if err := refuseUnknownConditions(r.Header, writes); err != nil {
		return err
	}
	if at.name == "" {
		return f.bucket(w, r.Method, at.bucket, query)
	}
	switch id := query.Get("uploadId"); r.Method {
	case http.MethodGet, http.MethodHead:
		return f.get(w, r, at)
	case http.MethodPut:
		switch {
		case id != "":
			return f.putPart(w, r, id, query.Get("partNumber"))
		case r.Header.Get(copyHeader) != "":
			return f.copy(w, r, at)
		}
		return f.put(w, r, at)
	case http.MethodPost:
		if id != "" {
			return f.completeUpload(w, r, at, id)
		}
		return f.beginUpload(w, r, query)
	case http.MethodDelete:
		if id != "" {
			return f.abortUpload(w, id)
		}
		return f.delete(w, at)
	}
	return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "%s", r.Method)
}

// parseTarget reads /bucket/object; the object's name is percent-encoded as a whole.
func parseTarget(escaped string) (target, error) {
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	bucket, bucketErr := url.PathUnescape(bucket)
	name, nameErr := url.PathUnescape(rest)
	if bucketErr != nil || nameErr != nil || strings.Contains(bucket, "/") {
		return target{}, fail(http.StatusBadRequest, "InvalidURI", "%s is not /bucket/object", escaped)
	}
	return target{bucket, name}, nil
}

// refuseUnknownConditions makes sure that no precondition is ignored in silence.
func refuseUnknownConditions(header http.Header, writes bool) error {
	for name := range header {
		known := name == conditionHeader && writes
		if strings.HasPrefix(name, "X-Goog-If-") && !known {
			return fail(http.StatusNotImplemented, "NotImplemented", "%s is not honoured here", name)
		}
	}
	return nil
}

func writeFailure(w http.ResponseWriter, err error) {
	var known *failure
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known):
	case errors.As(err, &tooLarge):
		known = &failure{http.StatusRequestEntityTooLarge, "EntityTooLarge", err.Error()}
	default: // the body ended early
		known = &failure{http.StatusBadRequest, "IncompleteBody", err.Error()}
	}
	writeXML(w, known.status, struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: known.code, Message: known.message})
}

func writeXML(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if err := xml.NewEncoder(w).Encode(value); err != nil {
		log.Printf("answer not sent: %v", err)
	}
}

func noSuchKey(at target) error {
	return fail(http.StatusNotFound, "NoSuchKey", "%s/%s", at.bucket, at.name)
}

// serve makes the bucket and answers until it is killed. It prints the address that it listens on.
func serve(address, bucket string) error {
	gcs, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true})
	if err != nil {
		return err
	}
	gcs.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("gcsfront listens on http://%s\n", listener.Addr())
	server := http.Server{
		Handler:           &front{gcs: gcs, uploads: map[string]*upload{}},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	return server.Serve(listener)
}

func main() {
	address := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	bucket := flag.String("bucket", "models", "the bucket")
	flag.Parse()
	log.Fatal(serve(*address, *bucket))
}
