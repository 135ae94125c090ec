package upstream

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// What upstream answers a write with is an object, one of its errors, or an outage; and the
// list of buckets is no larger than its text.
func FuzzDocuments(f *testing.F) {
	for _, s := range []string{
		`<CompleteMultipartUploadResult><ETag>&quot;a-1&quot;</ETag></CompleteMultipartUploadResult>`,
		`<CopyObjectResult><ETag>a</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></CopyObjectResult>`,
		"          <Error><Code>SlowDown</Code><Message>m</Message></Error>",
		`<ListAllMyBucketsResult><Owner><ID>i</ID></Owner><Buckets><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
		`<!DOCTYPE x [<!ENTITY a "b">]><Error>&a;</Error>`, "<a>", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, document string) {
		said := func() answer {
			return answer{&http.Response{StatusCode: http.StatusOK, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(document))}}
		}
		stored, err := said().stored("an answer")
		var refusal *storage.Error
		switch {
		case err == nil && (stored == nil || len(stored.ETag) > len(document)):
			t.Fatalf("%q: %+v", document, stored)
		case err != nil && !errors.As(err, &refusal) && !errors.Is(err, storage.ErrUnreachable):
			t.Fatalf("%q: %v", document, err)
		case refusal != nil && refusal.Status != lateStatus(refusal.Code):
			t.Fatalf("%q: an error that comes with 200 is a %d", document, refusal.Status)
		}
		list, err := ParseBuckets(strings.NewReader(document))
		if err != nil {
			return
		}
		if size := len(list.Buckets); size*len("<Bucket/>") > len(document) {
			t.Fatalf("%d buckets in %d bytes", size, len(document))
		}
		text, err := xml.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseBuckets(strings.NewReader(string(text))); err != nil || len(again.Buckets) != len(list.Buckets) {
			t.Fatalf("%q, then %q: %v", document, text, err)
		}
	})
}

// An upload's id becomes a part of names.
func FuzzUploadID(f *testing.F) {
	f.Add("ZGVmYXVsdA")
	f.Add("../x")
	f.Add("a.b~c=")
	f.Fuzz(func(t *testing.T, id string) {
		if isUploadID(id) && (id == "" || len(id) > maxUploadID || strings.ContainsAny(id, "/\\%?# \x01\x00\n")) {
			t.Fatalf("%q is an upload id", id)
		}
	})
}
