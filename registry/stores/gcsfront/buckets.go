package main

// Buckets: lists, page by page.

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func (f *front) bucket(w http.ResponseWriter, method, bucket string, query url.Values) error {
	if method != http.MethodGet || bucket == "" {
		return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "a bucket is only listed")
	}
	options, err := listOptions(query)
	if err != nil {
		return err
	}
	page, err := f.gcs.ListObjectsWithOptionsPaginated(bucket, options)
	if err != nil {
		return fail(http.StatusNotFound, "NoSuchBucket", "%s", bucket)
	}
	writeXML(w, http.StatusOK, listResult(page))
	return nil
}

func listOptions(query url.Values) (fakestorage.ListOptions, error) {
	options := fakestorage.ListOptions{Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"), MaxResults: pageMax}
	if after := query.Get("start-after"); after != "" {
		options.StartOffset = after + "\x00" // the offset itself would be listed; this is the next name after it
	}
	token, err := base64.URLEncoding.DecodeString(query.Get("continuation-token"))
	if err != nil {
		return options, fail(http.StatusBadRequest, "InvalidArgument", "continuation-token is not one of ours")
	}
	options.PageToken = string(token)
	if query.Has("max-keys") {
		keys, err := strconv.Atoi(query.Get("max-keys"))
		if err != nil || keys < 1 {
			return options, fail(http.StatusBadRequest, "InvalidArgument", "max-keys is not a number of at least 1")
		}
		options.MaxResults = min(keys, pageMax)
	}
	return options, nil
}

// listResult is a page as the XML API shows it. Prefixes do not count towards a page's size, and each page
// repeats those after its start: a client has to put them into a set, as it has to anyway.
func listResult(page fakestorage.ListResponse) any {
	type contents struct {
		Key          string
		LastModified string
		ETag         string
		Size         int64
		Generation   int64
	}
	type prefix struct{ Prefix string }
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []contents
		CommonPrefixes        []prefix
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
	}{IsTruncated: page.NextPageToken != ""}
	for _, object := range page.Objects {
		updated := object.Updated.UTC().Truncate(time.Second).Format(time.RFC3339) // as exact as Last-Modified
		result.Contents = append(result.Contents, contents{object.Name, updated, quote(object.Etag), object.Size, object.Generation})
	}
	for _, name := range page.Prefixes {
		result.CommonPrefixes = append(result.CommonPrefixes, prefix{name})
	}
	if result.IsTruncated {
		result.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(page.NextPageToken))
	}
	return result
}
