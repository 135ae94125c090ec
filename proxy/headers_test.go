package proxy

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/upstream"
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

func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		want        error
	}{
		{"X-Minio-Extract", "true", errNotOffered},
		{"X-Minio-Extract", "True", errNotOffered},
		{"X-Minio-Extract", "false", nil},
		{"X-Amz-Meta-Snowball-Auto-Extract", "true", errNotOffered},
		{"X-Amz-Meta-Snowball-Auto-Extract", "false", nil},
		{"X-Amz-Write-Offset-Bytes", "0", errNotOffered},
		{"X-Minio-Source-Replication-Request", "false", errNotOffered},
		{"X-Amz-Meta-Bucketseal", "x", errReservedMetadata},
		{"x-amz-meta-bucketSEAL", "x", errReservedMetadata},
		{"X-Amz-Meta-Bucketseal-Other", "x", errReservedMetadata},
		{"X-Minio-Meta-A", "x", errReservedMetadata},
		{"X-Minio-Internal-Encrypted-Multipart", "x", errReservedMetadata},
		{"X-Amz-Meta-Bucket", "x", nil},
		{"X-Amz-Meta-X-Amz-Key", "x", nil},
		{"Content-Type", "x", nil},
	} {
		h := http.Header{}
		h.Set(tt.name, tt.value)
		if err := refuseHeaders(h); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %s: %v, want %v", tt.name, tt.value, err, tt.want)
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
		if isReservedMeta(name) { // refuseHeaders does not let them come this far
			h.Del(name)
		}
	}
	h.Set("User-Agent", "client")
	r := &request{Request: &http.Request{Header: h}, origin: forwarded.Origin{Addr: netip.MustParseAddr("192.0.2.7")}}
	got := r.writeHeaders()
	want := map[string]string{
		"User-Agent": "client", "Referer": "v", "X-Forwarded-For": "192.0.2.7", "X-Real-Ip": "192.0.2.7", "X-Amz-Meta-A": "v",
		"Content-Type": "v", "Cache-Control": "v", "Content-Disposition": "v", "Content-Language": "v", "Expires": "v",
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
}

func TestReadsSendNothingOfTheClientsHeaders(t *testing.T) {
	t.Parallel()
	r := &request{Request: &http.Request{Header: everyHeader()}, origin: forwarded.Origin{Addr: netip.MustParseAddr("2001:db8::1")}}
	up := r.upstreamRequest(http.MethodGet)
	got := up.Header
	if want := []string{"Referer", "User-Agent", "X-Forwarded-For", "X-Real-Ip"}; !slices.Equal(slices.Sorted(maps.Keys(got)), want) || got.Get("X-Forwarded-For") != "2001:db8::1" {
		t.Errorf("upstream gets %v", got)
	}
	want := []string{toldMethod, toldKMSKeyID}
	if !slices.Equal(slices.Sorted(maps.Keys(up.Told)), want) {
		t.Errorf("policies are told %v", up.Told)
	}
}

func TestOnlyCopiesTellPoliciesOfASource(t *testing.T) {
	t.Parallel()
	for _, rt := range routes() {
		h := http.Header{"X-Amz-Copy-Source": {"/b/k"}, "X-Amz-Metadata-Directive": {"REPLACE"}}
		r := &request{Request: &http.Request{Header: h}, route: &rt}
		isCopy := rt.op == "CopyObject" || rt.op == "UploadPartCopy"
		if told := r.told(); told.Has(toldCopySource) != isCopy || told.Has(toldDirective) != isCopy {
			t.Errorf("%s: policies are told %v", rt.op, told)
		}
	}
}

func TestAnswersNeverShowTheRecordOrUpstreamsWordOnSizes(t *testing.T) {
	t.Parallel()
	got := http.Header{}
	copyObjectHeaders(got, everyHeader())
	for name := range got {
		if isReservedName(name) {
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

// answerWith returns an answer of a real HTTP connection with these header lines.
func answerWith(t *testing.T, lines ...string) *http.Response {
	t.Helper()
	text := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.Discard(resp) })
	return resp
}

// sealedRecord is a record of an empty SSE-C object, as text.
func sealedRecord(t *testing.T) string {
	t.Helper()
	key, secret := sse.NewObjectKey(), sse.Secret{1}
	rec := &sse.Record{}
	text, err := rec.Seal(&sse.Binding{Mode: sse.ModeC, Name: sse.Name{Bucket: "b", Key: "k"}}, &secret, &key, sse.NewPrivate(0, sse.StreamNonce{}))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRecordOfAnAnswer(t *testing.T) {
	t.Parallel()
	text := sealedRecord(t)
	for _, tt := range []struct {
		name  string
		lines []string
		has   bool
		err   error
	}{
		{"none", []string{"X-Amz-Meta-Other: x"}, false, nil},
		{"one", []string{"X-Amz-Meta-Bucketseal: " + text}, true, nil},
		{"in small letters", []string{"x-amz-meta-bucketseal: " + text}, true, nil},
		{"in any case", []string{"X-AMZ-meta-bucketSEAL: " + text}, true, nil},
		{"two", []string{"X-Amz-Meta-Bucketseal: " + text, "X-Amz-Meta-Bucketseal: " + text}, false, sse.ErrRecord},
		{"two of different case", []string{"X-Amz-Meta-Bucketseal: " + text, "x-amz-meta-BUCKETSEAL: x"}, false, sse.ErrRecord},
		{"another reserved name", []string{"X-Amz-Meta-Bucketseal-2: " + text}, false, sse.ErrRecord},
		{"one and another reserved name", []string{"X-Amz-Meta-Bucketseal: " + text, "X-Amz-Meta-Bucketseal2: x"}, false, sse.ErrRecord},
		{"empty", []string{"X-Amz-Meta-Bucketseal:"}, false, sse.ErrRecord},
		{"two in one line", []string{"X-Amz-Meta-Bucketseal: " + text + ", " + text}, false, sse.ErrRecord},
		{"not a record", []string{"X-Amz-Meta-Bucketseal: AQEB"}, false, sse.ErrRecord},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec, err := recordOf(answerWith(t, tt.lines...)) //nolint:bodyclose // it has none
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil || (rec != nil) != tt.has {
				t.Errorf("got %v, %v", rec, err)
			}
		})
	}
}

func TestEncryptionHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rec  sse.Record
		want map[string]string
	}{
		{"SSE-S3 tells no key", sse.Record{Mode: sse.ModeS3, KMSKey: "k"}, map[string]string{sse.HeaderMethod: "AES256"}},
		{"SSE-KMS", sse.Record{Mode: sse.ModeKMS, KMSKey: "k"}, map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderKMSKeyID: "arn:aws:kms:k"}},
		{
			"SSE-KMS with all",
			sse.Record{Mode: sse.ModeKMS, KMSKey: "k", ClientContext: []byte(`{"a":"b"}`), BucketKey: true},
			map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderKMSKeyID: "arn:aws:kms:k", sse.HeaderContext: "eyJhIjoiYiJ9", sse.HeaderBucketKey: "true"},
		},
		{"SSE-C", sse.Record{Mode: sse.ModeC}, map[string]string{sse.HeaderCustomerAlgorithm: "AES256", sse.HeaderCustomerKeyMD5: "md5"}},
	} {
		h := http.Header{}
		setEncryptionHeaders(h, &tt.rec, "md5")
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
