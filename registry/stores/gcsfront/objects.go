package main

// Objects: put, copy, get, delete.

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func (f *front) put(w http.ResponseWriter, r *http.Request, at target) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return f.insertAndAnswer(w, at, r.Header, r.Header.Get(conditionHeader), body)
}

// copy reads the source as it is at one moment, then writes it like a put.
func (f *front) copy(w http.ResponseWriter, r *http.Request, to target) error {
	from, err := parseTarget(r.Header.Get(copyHeader))
	if err != nil {
		return err
	}
	source, err := f.gcs.GetObject(from.bucket, from.name)
	if err != nil {
		return noSuchKey(from)
	}
	header := http.Header{}
	describe(header, source.ObjectAttrs)
	return f.insertAndAnswer(w, to, header, r.Header.Get(conditionHeader), source.Content)
}

func (f *front) insertAndAnswer(w http.ResponseWriter, at target, header http.Header, condition string, body []byte) error {
	stored, err := f.insert(at, header, condition, body)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", quote(stored.Etag))
	w.Header().Set(generationHeader, stored.Generation)
	return nil
}

// A stored object, as the JSON API describes it after an insert.
type stored struct {
	Etag, Generation string
}

// insert writes one object through the JSON API, which is where the fake server compares the generation
// and writes in one step. An empty condition means none; 0 means that the object must not exist.
func (f *front) insert(at target, header http.Header, condition string, body []byte) (stored, error) {
	query := url.Values{"uploadType": {"multipart"}, "name": {at.name}}
	if condition != "" {
		query.Set("ifGenerationMatch", condition)
	}
	form, boundary, err := insertForm(header, body)
	if err != nil {
		return stored{}, err
	}
	request := httptest.NewRequest(http.MethodPost, "/upload/storage/v1/b/"+url.PathEscape(at.bucket)+"/o?"+query.Encode(), form)
	request.Header.Set("Content-Type", "multipart/related; boundary="+boundary)
	answer := httptest.NewRecorder()
	f.gcs.HTTPHandler().ServeHTTP(answer, request)

	switch answer.Code {
	case http.StatusOK:
		var done stored
		err := json.Unmarshal(answer.Body.Bytes(), &done)
		return done, err
	case http.StatusPreconditionFailed:
		return stored{}, fail(answer.Code, "PreconditionFailed", "the generation of %s is not %s", at.name, condition)
	}
	return stored{}, fail(answer.Code, "InsertFailed", "%s", answer.Body.String())
}

// insertForm is the body of the JSON API's multipart insert: the metadata, then the content.
func insertForm(header http.Header, body []byte) (io.Reader, string, error) {
	metadata := map[string]string{}
	for name := range header {
		if key, found := strings.CutPrefix(name, metadataPrefix); found {
			metadata[strings.ToLower(key)] = header.Get(name)
		}
	}
	description, err := json.Marshal(map[string]any{
		"cacheControl":       header.Get("Cache-Control"),
		"contentDisposition": header.Get("Content-Disposition"),
		"contentEncoding":    header.Get("Content-Encoding"),
		"contentLanguage":    header.Get("Content-Language"),
		"metadata":           metadata,
	})
	if err != nil {
		return nil, "", err
	}
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	sections := []struct {
		kind string
		data []byte
	}{{"application/json", description}, {header.Get("Content-Type"), body}}
	for _, section := range sections {
		out, err := writer.CreatePart(textproto.MIMEHeader{"Content-Type": {section.kind}})
		if err != nil {
			return nil, "", err
		}
		if _, err := out.Write(section.data); err != nil {
			return nil, "", err
		}
	}
	return &form, writer.Boundary(), writer.Close()
}

// get answers GET and HEAD, with ranges and with If-Match, If-None-Match and their like.
func (f *front) get(w http.ResponseWriter, r *http.Request, at target) error {
	generation, err := strconv.ParseInt(r.URL.Query().Get("generation"), 10, 64)
	if err != nil && r.URL.Query().Has("generation") {
		return fail(http.StatusBadRequest, "InvalidArgument", "generation is not a number")
	}
	object, err := f.gcs.GetObjectWithGenerationStreaming(at.bucket, at.name, generation)
	if err != nil {
		return noSuchKey(at)
	}
	defer object.Close()
	describe(w.Header(), object.ObjectAttrs)
	w.Header().Set("ETag", quote(object.Etag))
	w.Header().Set(generationHeader, strconv.FormatInt(object.Generation, 10))
	http.ServeContent(sized{w, object.Size}, r, "", object.Updated, object.Content)
	return nil
}

// sized gives a whole object its length, which ServeContent leaves out if there is a Content-Encoding.
type sized struct {
	http.ResponseWriter
	size int64
}

func (w sized) WriteHeader(status int) {
	if status == http.StatusOK {
		w.Header().Set("Content-Length", strconv.FormatInt(w.size, 10))
	}
	w.ResponseWriter.WriteHeader(status)
}

// describe sets the headers that an object was stored with.
func describe(header http.Header, object fakestorage.ObjectAttrs) {
	known := map[string]string{
		"Content-Type":        object.ContentType,
		"Cache-Control":       object.CacheControl,
		"Content-Disposition": object.ContentDisposition,
		"Content-Encoding":    object.ContentEncoding,
		"Content-Language":    object.ContentLanguage,
	}
	for name, value := range known {
		if value != "" {
			header.Set(name, value)
		}
	}
	for key, value := range object.Metadata {
		header.Set(metadataPrefix+key, value)
	}
}

func quote(etag string) string { return `"` + etag + `"` }

func (f *front) delete(w http.ResponseWriter, at target) error {
	if err := f.gcs.Backend().DeleteObject(at.bucket, at.name); err != nil {
		return noSuchKey(at)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
