package s3api

import (
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

func TestContentEncodingWithoutTheTransfersOwn(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                          "",
		"aws-chunked":               "",
		"AWS-Chunked":               "",
		"gzip":                      "gzip",
		"gzip, br":                  "gzip, br",
		"gzip,aws-chunked":          "gzip",
		"aws-chunked,gzip":          "gzip",
		"aws-chunked, gzip ,br":     "gzip,br",
		"aws-chunked,,aws-chunked,": "",
		"x-aws-chunked":             "x-aws-chunked",
	} {
		if got := withoutAWSChunked(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// everyHeader holds what a client or a hostile upstream might send.
func everyHeader() http.Header {
	h := http.Header{}
	for _, name := range []string{
		"Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires", "Content-Length", "Content-Range", "Etag",
		"Last-Modified", "Content-Md5", "Authorization", "Cookie", "Set-Cookie", "Connection", "Te", "Upgrade", "Range", "If-Match", "Referer",
		"X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto",
		"X-Amz-Tagging", "X-Amz-Acl", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "X-Amz-Storage-Class",
		"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Customer-Key", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
		"X-Amz-Checksum-Crc32", "X-Amz-Checksum-Type", "X-Amz-Decoded-Content-Length", "X-Amz-Trailer", "X-Amz-Copy-Source",
		"X-Amz-Object-Lock-Mode", "X-Amz-Bypass-Governance-Retention", "X-Amz-Version-Id", "X-Amz-Request-Id", "X-Amz-Mp-Parts-Count",
		"X-Minio-Source-Etag", "X-Minio-Source-Mtime", "X-Minio-Replication-Delete-Status", "X-Minio-Force-Delete",
		"X-Amz-Meta-A", "X-Amz-Meta-Bucketseal", "X-Amz-Meta-Bucketseal-Other", "X-Amz-Meta-Bucketsealed",
	} {
		h.Set(name, "v")
	}
	return h
}

func TestOnlyStoredHeadersOfAWriteGoUpstream(t *testing.T) {
	t.Parallel()
	h := everyHeader()
	for name := range h {
		if storage.IsReserved(name) { // intake.RefuseHeaders does not let them come this far
			h.Del(name)
		}
	}
	h.Set("User-Agent", "client")
	r := &intake.Request{Request: &http.Request{Header: h}, Origin: forwarded.Origin{Addr: netip.MustParseAddr("192.0.2.7")}, Tell: tell}
	got := writeMeta(r)
	want := map[string]string{
		"X-Amz-Meta-A": "v", "Content-Type": "v", "Cache-Control": "v", "Content-Disposition": "v", "Content-Language": "v", "Expires": "v",
		"X-Amz-Tagging": "v", "X-Amz-Acl": "v", "X-Amz-Storage-Class": "v", "X-Amz-Object-Lock-Mode": "v",
	}
	for name := range got {
		if got.Get(name) != want[name] {
			t.Errorf("%s: %q goes upstream", name, got.Get(name))
		}
	}
	for name := range want {
		if got.Get(name) == "" {
			t.Errorf("%s is lost", name)
		}
	}
	if by := r.Actor(); by.Agent != "client" || by.Referer != "v" || by.Addr.String() != "192.0.2.7" || by.Credential != nil {
		t.Errorf("the storage is told of %+v", by)
	}
}

func TestReadsSendNothingOfTheClientsHeaders(t *testing.T) {
	t.Parallel()
	s := newAPI(t, nil)
	h := everyHeader()
	h.Del(sse.HeaderCustomerKey) // by itself it is refused
	r := &intake.Request{
		Request: (&http.Request{Method: http.MethodGet, Header: h}).WithContext(t.Context()), Bucket: "b", Key: "k",
		Origin: forwarded.Origin{Addr: netip.MustParseAddr("2001:db8::1")}, Tell: tell,
	}
	var customer sse.Request
	read, err := s.parseRead(r, &customer)
	if err != nil {
		t.Fatal(err)
	}
	want := vault.Read{Name: sse.Name{Bucket: "b", Key: "k"}, Conditions: conditions.Read{IfMatch: "v"}}
	if !reflect.DeepEqual(read, want) {
		t.Errorf("the engine is asked for %+v", read)
	}
	r.Header = everyHeader()
	by := s.reader(r).Actor
	if by.Agent != "" || by.Referer != "v" || by.Addr.String() != "2001:db8::1" || by.Credential != nil {
		t.Errorf("the storage is told of %+v", by)
	}
	if told := []string{storage.ToldMethod, storage.ToldKMSKeyID}; !slices.Equal(slices.Sorted(maps.Keys(by.Told)), told) {
		t.Errorf("policies are told %v", by.Told)
	}
}

func TestOnlyCopiesTellPoliciesOfASource(t *testing.T) {
	t.Parallel()
	all := Routes()
	if _, err := newTable(all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		rt := &all[i]
		h := http.Header{"X-Amz-Copy-Source": {"/b/k"}, "X-Amz-Metadata-Directive": {"REPLACE"}}
		r := &intake.Request{Request: &http.Request{Header: h}, Route: rt.Route()}
		isCopy := rt.Op == "CopyObject" || rt.Op == "UploadPartCopy"
		told := make(url.Values)
		tell(told, r)
		if told.Has(storage.ToldCopySource) != isCopy || told.Has(storage.ToldDirective) != isCopy {
			t.Errorf("%s: policies are told %v", rt.Op, told)
		}
	}
}

func TestAnswersNeverShowTheRecordOrUpstreamsWordOnSizes(t *testing.T) {
	t.Parallel()
	got := http.Header{}
	copyObjectHeaders(got, everyHeader())
	for name := range got {
		if storage.IsReserved(name) {
			t.Errorf("%s reaches the client", name)
		}
	}
	for _, name := range []string{
		"Content-Length", "Content-Range", "Etag", "X-Amz-Server-Side-Encryption", "X-Amz-Checksum-Crc32", "X-Amz-Request-Id",
		"Set-Cookie", "X-Amz-Mp-Parts-Count", "X-Minio-Source-Etag", "X-Amz-Tagging",
	} {
		if _, ok := got[name]; ok {
			t.Errorf("upstream's %s reaches the client", name)
		}
	}
	meta := map[string][]string(got)["x-amz-meta-a"] // in small letters, as AWS sends it
	if len(meta) != 1 || meta[0] != "v" || got.Get("Content-Type") != "v" || got.Get("X-Amz-Version-Id") != "v" || got.Get("Accept-Ranges") != "bytes" {
		t.Errorf("the client's own is lost: %v", got)
	}
}

func TestEncryptionHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		as   sse.Encryption
		want map[string]string
	}{
		{"SSE-S3 tells no key", sse.Encryption{Mode: sse.ModeS3, KMSKey: "k"}, map[string]string{sse.HeaderMethod: "AES256"}},
		{"SSE-KMS", sse.Encryption{Mode: sse.ModeKMS, KMSKey: "k"}, map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderKMSKeyID: "arn:aws:kms:k"}},
		{
			"SSE-KMS with all",
			sse.Encryption{Mode: sse.ModeKMS, KMSKey: "k", ClientContext: []byte(`{"a":"b"}`), BucketKey: true},
			map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderKMSKeyID: "arn:aws:kms:k", sse.HeaderContext: "eyJhIjoiYiJ9", sse.HeaderBucketKey: "true"},
		},
		{"SSE-C", sse.Encryption{Mode: sse.ModeC}, map[string]string{sse.HeaderCustomerAlgorithm: "AES256", sse.HeaderCustomerKeyMD5: "md5"}},
	} {
		h := http.Header{}
		setEncryptionHeaders(h, tt.as, "md5")
		for name := range tt.want {
			if h.Get(name) != tt.want[name] {
				t.Errorf("%s: %s is %q", tt.name, name, h.Get(name))
			}
		}
		if len(h) != len(tt.want) {
			t.Errorf("%s: %v", tt.name, h)
		}
	}
}
