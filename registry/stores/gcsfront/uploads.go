package main

// Uploads: an object put together from parts.

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// An upload is an object that is being put together from parts.
type upload struct {
	header http.Header
	parts  map[int]part
	size   int
}

type part struct {
	etag string
	body []byte
}

func (f *front) beginUpload(w http.ResponseWriter, r *http.Request, query url.Values) error {
	if !query.Has("uploads") {
		return fail(http.StatusBadRequest, "InvalidRequest", "a POST is ?uploads or ?uploadId=")
	}
	f.mu.Lock()
	if len(f.uploads) >= uploadsMax {
		f.mu.Unlock()
		return fail(http.StatusTooManyRequests, "SlowDown", "%d uploads are open", uploadsMax)
	}
	f.begun++
	id := fmt.Sprintf("upload-%d", f.begun)
	f.uploads[id] = &upload{header: r.Header.Clone(), parts: map[int]part{}}
	f.mu.Unlock()
	writeXML(w, http.StatusOK, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}{UploadID: id})
	return nil
}

func noSuchUpload(id string) error {
	return fail(http.StatusNotFound, "NoSuchUpload", "%s", id)
}

func (f *front) putPart(w http.ResponseWriter, r *http.Request, id, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > partsMax {
		return fail(http.StatusBadRequest, "InvalidArgument", "partNumber is not in 1..%d", partsMax)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	sum := md5.Sum(body)
	received := part{quote(hex.EncodeToString(sum[:])), body}

	f.mu.Lock()
	defer f.mu.Unlock()
	open, found := f.uploads[id]
	if !found {
		return noSuchUpload(id)
	}
	size := open.size - len(open.parts[n].body) + len(body)
	if size > objectMax {
		return fail(http.StatusRequestEntityTooLarge, "EntityTooLarge", "an object has at most %d bytes", objectMax)
	}
	open.parts[n], open.size = received, size
	w.Header().Set("ETag", received.etag)
	return nil
}

// completeUpload writes the named parts as one object, without a condition: the client sends none.
func (f *front) completeUpload(w http.ResponseWriter, r *http.Request, at target, id string) error {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(io.LimitReader(r.Body, requestMax)).Decode(&wanted); err != nil {
		return fail(http.StatusBadRequest, "MalformedXML", "%v", err)
	}
	f.mu.Lock()
	open, found := f.uploads[id]
	var bodies [][]byte
	if found {
		for _, one := range wanted.Part {
			if held, ok := open.parts[one.PartNumber]; ok && held.etag == one.ETag {
				bodies = append(bodies, held.body)
			}
		}
	}
	f.mu.Unlock()
	if !found {
		return noSuchUpload(id)
	}
	if len(bodies) != len(wanted.Part) || len(bodies) == 0 || len(bodies) > partsMax {
		return fail(http.StatusBadRequest, "InvalidPart", "a part named was not sent, or not with this ETag")
	}
	done, err := f.insert(at, open.header, "", bytes.Join(bodies, nil))
	if err != nil {
		return err
	}
	f.forget(id)
	w.Header().Set(generationHeader, done.Generation)
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		ETag    string
	}{ETag: quote(done.Etag)})
	return nil
}

func (f *front) abortUpload(w http.ResponseWriter, id string) error {
	if !f.forget(id) {
		return noSuchUpload(id)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// forget drops an upload and its parts; false if there was none.
func (f *front) forget(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, found := f.uploads[id]
	delete(f.uploads, id)
	return found
}
