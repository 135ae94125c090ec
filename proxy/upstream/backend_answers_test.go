package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// answering returns MinIO as a caller sees it who gets one answer to everything.
func answering(t *testing.T, status int, body string, header ...string) storage.Backend {
	t.Helper()
	client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	return client.Storage(storage.Credential{}).As(testActor)
}

// everyCall are all methods of a Backend.
var everyCall = map[string]func(context.Context, storage.Backend) error{
	"Get":  get(storage.Get{}),
	"List": list(storage.List{}),
	"Head": func(ctx context.Context, b storage.Backend) error {
		return only(b.Head(ctx, &storage.Get{Name: testName}))
	},
	"Tags": func(ctx context.Context, b storage.Backend) error {
		return only(b.Tags(ctx, &storage.Get{Name: testName}))
	},
	"Put": func(ctx context.Context, b storage.Backend) error {
		return only(b.Put(ctx, &storage.Put{Name: testName}))
	},
	"Delete": func(ctx context.Context, b storage.Backend) error {
		return only(b.Delete(ctx, &storage.Delete{Name: testName}))
	},
	"Copy": func(ctx context.Context, b storage.Backend) error {
		return only(b.Copy(ctx, &storage.Copy{Name: testName}))
	},
	"Abort": func(ctx context.Context, b storage.Backend) error { return b.Abort(ctx, &testUpload) },
	"ObjectParts": func(ctx context.Context, b storage.Backend) error {
		return only(b.ObjectParts(ctx, &storage.Get{Name: testName}))
	},
	"CreateUpload": func(ctx context.Context, b storage.Backend) error {
		return only(b.CreateUpload(ctx, &storage.CreateUpload{Name: testName}))
	},
	"PutPart": func(ctx context.Context, b storage.Backend) error {
		return only(b.PutPart(ctx, &storage.PutPart{Upload: testUpload, Number: 1}))
	},
	"Complete": func(ctx context.Context, b storage.Backend) error {
		return only(b.Complete(ctx, &storage.Complete{Upload: testUpload}))
	},
	"ListParts": func(ctx context.Context, b storage.Backend) error {
		return only(b.ListParts(ctx, &storage.ListParts{Upload: testUpload}))
	},
	"May": func(ctx context.Context, b storage.Backend) error {
		return b.May(ctx, &storage.Question{Right: storage.ReadUpload, Name: testName})
	},
}

func TestRefusalsAreErrorsOfEveryCall(t *testing.T) {
	t.Parallel()
	for name, call := range everyCall {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refusal *storage.Error
			b := answering(t, 403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", "X-Minio-Error-Code: AccessDenied")
			err := call(t.Context(), b)
			if !errors.As(err, &refusal) || refusal.Status != 403 || refusal.Code != "AccessDenied" || !errors.Is(err, storage.ErrForbidden) {
				t.Errorf("a refusal: %v", err)
			}
			if err := call(t.Context(), answering(t, 302, "", "Location: /elsewhere")); err == nil {
				t.Error("a redirection is no error")
			}
			ended, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("the caller went")
			cancel(cause)
			if err := call(ended, b); !errors.Is(err, cause) {
				t.Errorf("nobody waits: %v", err)
			}
		})
	}
}

// A client whose request needs a look of the proxy's own is not to take its refusal for its own.
func TestRefusalsOfTheProxysOwnCredentialAreToldApart(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{"AccessDenied": system.ErrOwnRights, "InvalidAccessKeyId": system.ErrOwnCredential, "Other": system.ErrOwnRights} {
		at := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Minio-Error-Code", code)
			w.WriteHeader(http.StatusForbidden)
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code></Error>")
			}
		}).Storage(storage.Credential{})
		for name, call := range everyCall {
			if err := call(t.Context(), at.Own(testActor)); !errors.Is(err, want) {
				t.Errorf("%s, %s: %v", name, code, err)
			}
			if err := call(t.Context(), at.As(testActor)); err == nil || storage.OwnRefused(err) {
				t.Errorf("%s as the caller, %s: %v", name, code, err)
			}
		}
	}
}

func TestAnswersThatDoNotParseAreUnreachable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Tags", "Copy", "ObjectParts", "CreateUpload", "Complete", "ListParts"} {
		for _, body := range []string{"", "<R><ETag>", "<R><LastModified>now</LastModified><UploadId>a/b</UploadId><Tag/><Part><PartNumber>x", "<R>" + strings.Repeat(" ", maxParts) + "</R>"} {
			if err := everyCall[name](t.Context(), answering(t, 200, body)); !errors.Is(err, storage.ErrUnreachable) {
				t.Errorf("%s takes %.20q: %v", name, body, err)
			}
		}
	}
	if err := everyCall["List"](t.Context(), answering(t, 200, "<ListBucketResult>")); !errors.Is(err, storage.ErrListing) {
		t.Errorf("List: %v", err)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	when := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	b := answering(t, 206, "data", `Etag: "e"`, "Content-Range: bytes 4-7/10", "Last-Modified: "+when.Format(http.TimeFormat), "X-Amz-Version-Id: v",
		"X-Amz-Meta-A: 1", "X-Amz-Meta-Bucketseal: rec", "x-amz-meta-bucketseal: rec 2", "X-AMZ-META-BUCKETSEALED: other")
	o, err := b.Get(t.Context(), &storage.Get{Name: testName})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(o)
	if err != nil || string(data) != "data" || o.Close() != nil {
		t.Errorf("read %q, %v", data, err)
	}
	head, err := b.Head(t.Context(), &storage.Get{Name: testName})
	if err != nil {
		t.Fatal(err)
	}
	for what, info := range map[string]storage.Info{"Get": o.Info, "Head": *head} {
		reserved := make(map[storage.MetaEntry]bool)
		for _, e := range info.Reserved {
			reserved[e] = true
		}
		if want := map[storage.MetaEntry]bool{{Name: "X-Amz-Meta-Bucketseal", Value: "rec"}: true, {Name: "X-Amz-Meta-Bucketseal", Value: "rec 2"}: true, {Name: "X-Amz-Meta-Bucketsealed", Value: "other"}: true}; !reflect.DeepEqual(reserved, want) {
			t.Errorf("%s: reserved are %v", what, info.Reserved)
		}
		if info.Meta.Get("X-Amz-Meta-A") != "1" || info.Meta.Get("Content-Range") == "" || info.Meta.Values("X-Amz-Meta-Bucketseal") != nil || info.Meta.Values("X-Amz-Meta-Bucketsealed") != nil {
			t.Errorf("%s: metadata %v", what, info.Meta)
		}
		info.Meta, info.Reserved = nil, nil
		if want := (storage.Info{ETag: `"e"`, Size: 4, Part: true, At: sse.Range{Offset: 4, Length: 4}, Total: 10, Modified: when, Version: "v"}); !reflect.DeepEqual(info, want) {
			t.Errorf("%s: %+v, want %+v", what, info, want)
		}
	}
}

func TestWhereAPartLies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status       int
		contentRange string
		part         bool
		at           sse.Range
		total        int64
	}{
		{200, "", false, sse.Range{}, 0},
		{200, "bytes 0-0/1", false, sse.Range{}, 0},
		{206, "", true, sse.Range{}, -1},
		{206, "bytes 0-0/1", true, sse.Range{Length: 1}, 1},
		{206, "bytes 0--1/0", true, sse.Range{}, 0},
		{206, "bytes 2-1/5", true, sse.Range{Offset: 2}, 5},
		{206, "bytes 3-1/5", true, sse.Range{}, -1},
		{206, "bytes 0-5/5", true, sse.Range{}, -1},
		{206, "bytes 0-0/*", true, sse.Range{}, -1},
		{206, "bytes 00-0/1", true, sse.Range{}, -1},
		{206, "bytes 0-0/1 ", true, sse.Range{Length: 1}, 1}, // no header keeps the space
		{206, "bytes +0-0/1", true, sse.Range{}, -1},
		{206, "bytes=0-0/1", true, sse.Range{}, -1},
		{206, "bytes 0-9223372036854775807/9223372036854775807", true, sse.Range{}, -1},
	} {
		info, err := answering(t, tt.status, "", "Content-Range: "+tt.contentRange).Head(t.Context(), &storage.Get{Name: testName})
		if err != nil {
			t.Fatal(err)
		}
		if info.Part != tt.part || info.At != tt.at || info.Total != tt.total {
			t.Errorf("%d %q: part %v, %+v of %d", tt.status, tt.contentRange, info.Part, info.At, info.Total)
		}
	}
}

func TestWhatMinIOSaysOfWrites(t *testing.T) {
	t.Parallel()
	const document = "<R><ETag>&#34;d&#34;</ETag><LastModified>2024-05-06T07:08:09.123Z</LastModified></R>"
	when := time.Date(2024, 5, 6, 7, 8, 9, 123e6, time.UTC)
	b := answering(t, 200, document, `Etag: "h"`, "X-Amz-Version-Id: v", "X-Amz-Expiration: soon")
	for name, call := range map[string]func() (*storage.Stored, error){
		"Put":      func() (*storage.Stored, error) { return b.Put(t.Context(), &storage.Put{Name: testName}) },
		"Copy":     func() (*storage.Stored, error) { return b.Copy(t.Context(), &storage.Copy{Name: testName}) },
		"Complete": func() (*storage.Stored, error) { return b.Complete(t.Context(), &storage.Complete{Upload: testUpload}) },
	} {
		got, err := call()
		if err != nil {
			t.Fatal(err)
		}
		want := storage.Stored{ETag: `"d"`, Version: "v", Modified: when}
		if name == "Put" { // whose answer has no document
			want = storage.Stored{ETag: `"h"`, Version: "v"}
		}
		if got.Meta.Get("X-Amz-Expiration") != "soon" {
			t.Errorf("%s: metadata %v", name, got.Meta)
		}
		if got.Meta = nil; !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, want %+v", name, *got, want)
		}
	}
	deleted, err := answering(t, 204, "", "X-Amz-Delete-Marker: true").Delete(t.Context(), &storage.Delete{Name: testName})
	if err != nil || deleted.Get("X-Amz-Delete-Marker") != "true" {
		t.Errorf("Delete: %v, %v", deleted, err)
	}
}

func TestErrorsBehindAStatusOfSuccessAreErrors(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Copy", "Complete"} {
		for code, status := range map[string]int{
			"SlowDown": 500, "InternalError": 500, "": 500,
			"InvalidPart": 400, "NoSuchKey": 404, "NoSuchUpload": 404, "PreconditionFailed": 412,
		} {
			var refusal *storage.Error
			err := everyCall[name](t.Context(), answering(t, 200, "<Error><Code>"+code+"</Code><Message>m</Message></Error>"))
			if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != code || refusal.Message != "m" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDocumentsOfMinIO(t *testing.T) {
	t.Parallel()
	tags, err := answering(t, 200, "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value></Value></Tag></TagSet></Tagging>").Tags(t.Context(), &storage.Get{Name: testName})
	if want := map[string]string{"a": "1", "b": ""}; err != nil || !reflect.DeepEqual(tags, want) {
		t.Errorf("tags %v, %v", tags, err)
	}
	tags, err = answering(t, 404, "<Error><Code>NoSuchTagSet</Code></Error>").Tags(t.Context(), &storage.Get{Name: testName})
	if err != nil || len(tags) != 0 {
		t.Errorf("no tags: %v, %v", tags, err)
	}
	parts, err := answering(t, 200, "<R><ObjectParts><Part><PartNumber>2</PartNumber><Size>5</Size><ChecksumCRC32C>c</ChecksumCRC32C><ChecksumSHA1></ChecksumSHA1></Part><Part><PartNumber>4</PartNumber></Part></ObjectParts></R>").
		ObjectParts(t.Context(), &storage.Get{Name: testName})
	if want := []storage.ObjectPart{{Number: 2, Size: 5, Checksums: map[string]string{"CRC32C": "c"}}, {Number: 4}}; err != nil || !reflect.DeepEqual(parts, want) {
		t.Errorf("parts %+v, %v", parts, err)
	}
	page, err := answering(t, 200, "<R><MaxParts>7</MaxParts><IsTruncated>true</IsTruncated><Owner><ID>o</ID></Owner><Part><PartNumber>2</PartNumber><ETag>e</ETag><Size>5</Size></Part></R>").
		ListParts(t.Context(), &storage.ListParts{Upload: testUpload})
	if err != nil || fmt.Sprintf("%+v", *page) != "{Parts:[{PartNumber:2 ETag:e LastModified: Size:5}] IsTruncated:true StorageClass: MaxParts:7 Owner:{ID:o DisplayName:} Initiator:{ID: DisplayName:}}" {
		t.Errorf("page %+v, %v", page, err)
	}
	for id, ok := range map[string]bool{"a-B_9.~=+": true, strings.Repeat("a", maxUploadID): true, strings.Repeat("a", maxUploadID+1): false, "a/b": false, "": false, "ü": false} {
		got, err := answering(t, 200, "<R><UploadId>"+id+"</UploadId></R>").CreateUpload(t.Context(), &storage.CreateUpload{Name: testName})
		if (err == nil) != ok || ok && got != id || !ok && !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("upload id %q: %q, %v", id, got, err)
		}
	}
}

func TestETagsOfPartsAreMD5s(t *testing.T) {
	t.Parallel()
	for etag, ok := range map[string]bool{md5ETag: true, strings.Trim(md5ETag, `"`): true, `"d41d8cd98f00b204e9800998ecf8427e-1"`: false, `"../x"`: false, "": false} {
		got, err := answering(t, 200, "", "Etag: "+etag).PutPart(t.Context(), &storage.PutPart{Upload: testUpload, Number: 1})
		if ok && (err != nil || got != strings.Trim(md5ETag, `"`)) || !ok && !errors.Is(err, storage.ErrLied) {
			t.Errorf("%q: %q, %v", etag, got, err)
		}
	}
}

func TestWhatAnswersToQuestionsMean(t *testing.T) {
	t.Parallel()
	code := func(code string) string { return "<Error><Code>" + code + "</Code></Error>" }
	for _, tt := range []struct {
		right  storage.Right
		status int
		body   string
		want   error // *storage.Error for any refusal, nil for a yes
	}{
		{storage.WriteObject, 412, code("PreconditionFailed"), nil},
		{storage.WriteObject, 404, code("NoSuchKey"), nil},
		{storage.WriteObject, 400, code("BadDigest"), nil},
		{storage.WriteObject, 404, code("NoSuchBucket"), &storage.Error{}},
		{storage.WriteObject, 200, "", storage.ErrLied},
		{storage.WriteObject, 204, "", storage.ErrLied},
		{storage.WriteObject, 302, "", storage.ErrLied},
		{storage.SendPart, 404, code("NoSuchUpload"), nil},
		{storage.SendPart, 403, code("AccessDenied"), &storage.Error{}},
		{storage.SendPart, 200, "", storage.ErrLied},
		{storage.SendPart, 204, "", storage.ErrLied},
		{storage.CompleteUpload, 404, code("NoSuchUpload"), nil},
		{storage.CompleteUpload, 200, "", storage.ErrLied},
		{storage.AbortUpload, 204, "", nil},
		{storage.AbortUpload, 404, code("NoSuchUpload"), nil},
		{storage.AbortUpload, 200, "", storage.ErrLied},
		{storage.ReadUpload, 200, "", storage.ErrLied},
		{storage.ReadUpload, 404, code("NoSuchKey"), &storage.Error{}},
		{storage.ListUploads, 200, "", nil},
		{storage.ListUploads, 403, code("AccessDenied"), &storage.Error{}},
		{storage.ReadRule, 404, code(noEncryptionRule), nil},
		{storage.ReadRule, 404, code("NoSuchBucket"), &storage.Error{}},
		{storage.ReadRule, 403, code(noEncryptionRule), &storage.Error{}},
		{storage.ReadRule, 200, "", storage.ErrEncrypts},
		{storage.ReadRule, 302, "", &storage.Error{}},
		{storage.WriteRule, 501, code("NotImplemented"), nil},
		{storage.WriteRule, 404, code(noEncryptionRule), &storage.Error{}},
		{storage.WriteRule, 403, code("AccessDenied"), &storage.Error{}},
		{storage.WriteRule, 200, "", storage.ErrEncrypts},
		{storage.RemoveRule, 204, "", nil},
		{storage.RemoveRule, 200, "", storage.ErrEncrypts},
		{storage.RemoveRule, 501, code("NotImplemented"), &storage.Error{}},
		{storage.Right(99), 200, "", errors.ErrUnsupported},
	} {
		err := answering(t, tt.status, tt.body).May(t.Context(), &storage.Question{Right: tt.right, Name: testName})
		var refusal *storage.Error
		if tt.want == nil && err == nil || errors.As(tt.want, &refusal) && errors.As(err, &refusal) && refusal.Status == tt.status {
			continue
		}
		if tt.want == nil || !errors.Is(err, tt.want) {
			t.Errorf("%d is answered %d %s: %v, want %v", tt.right, tt.status, tt.body, err, tt.want)
		}
	}
}

func TestAnswersThatAreClosedLeaveTheirConnection(t *testing.T) {
	t.Parallel()
	body := &trackedBody{Reader: strings.NewReader("the rest")}
	a := answer{&http.Response{Body: body}}
	if err := a.Close(); err != nil || !body.closed || body.read != len("the rest") {
		t.Errorf("closed %v after %d bytes, %v", body.closed, body.read, err)
	}
}

func TestBodiesThatBreakOff(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	})
	o, err := client.Storage(storage.Credential{}).As(testActor).Get(t.Context(), &storage.Get{Name: testName})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	if data, err := io.ReadAll(o); !errors.Is(err, storage.ErrUnreachable) || string(data) != "half" {
		t.Errorf("read %q, %v", data, err)
	}
}

func TestMinIOMayTakeItsTimeToMoveData(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		_, _ = io.WriteString(w, "<R/>")
	}))
	t.Cleanup(server.Close)
	endpoint, _ := url.Parse(server.URL)
	client, err := New(Options{Endpoint: endpoint, HeaderTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for name, call := range everyCall {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patient := name == "Copy" || name == "Complete"
			if err := call(t.Context(), client.Storage(storage.Credential{}).As(testActor)); errors.Is(err, storage.ErrUnreachable) == patient {
				t.Errorf("a slow answer: %v", err)
			}
		})
	}
}

// A request's id at MinIO is when it came.
func TestTimesBetweenWhichAnObjectWasStored(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]time.Time{
		"18B2D9A1B2C3D4E5":  time.Unix(0, 0x18B2D9A1B2C3D4E5),
		"":                  {},
		"18B2D9A1B2C3D4":    {},
		"x8B2D9A1B2C3D4E5":  {},
		"F8B2D9A1B2C3D4E5":  {},
		"018B2D9A1B2C3D4E5": {},
	} {
		after, before := between(http.Header{"X-Amz-Request-Id": {id}}, time.Second)
		if !after.Equal(want) || !want.IsZero() && !before.Equal(want.Add(time.Second)) || want.IsZero() && !before.IsZero() {
			t.Errorf("%q: %v to %v", id, after, before)
		}
	}
	if after, _ := between(http.Header{"X-Amz-Request-Id": {"18B2D9A1B2C3D4E5"}}, time.Hour); !after.IsZero() {
		t.Errorf("a write of an hour: %v", after)
	}
}
