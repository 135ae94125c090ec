package upstream

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestWhatIsForwarded(t *testing.T) {
	t.Parallel()
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	header := func() storage.Metadata {
		return storage.Metadata{"Content-Type": {"a/b"}, "X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}
	}
	told := url.Values{"x-amz-server-side-encryption": {"AES256"}, "Securetransport": {"true"}, "prefix": {"not told"}}
	with := func(pairs ...string) url.Values {
		query := make(url.Values)
		for i := 0; i < len(pairs); i += 2 {
			query[pairs[i]] = []string{pairs[i+1]}
		}
		for name, values := range told {
			if !query.Has(name) {
				query[name] = values
			}
		}
		return query
	}
	for _, tt := range []struct {
		name   string
		f      Forward
		path   string
		query  url.Values
		header map[string]string
	}{
		{
			"a document",
			Forward{Method: "PUT", Bucket: "b", Query: url.Values{"policy": {""}, "prefix": {"p"}}, Header: header(), Body: []byte("abc"), WithMD5: true},
			"/b", with("policy", "", "prefix", "p", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
			map[string]string{"Content-Type": "a/b", "Content-Md5": "kAFQmDzST7DWlj99KOF/cg==", "X-Amz-Content-Sha256": abc},
		},
		{
			"a digest that is signed too",
			Forward{Method: "PUT", Bucket: "b", Header: storage.Metadata{"X-Amz-Content-Sha256": {abc}}, Body: []byte("abc")},
			"/b", with(),
			map[string]string{"X-Amz-Content-Sha256": abc},
		},
		{
			"nothing",
			Forward{Method: "GET", WithMD5: true},
			"/", with(),
			map[string]string{"X-Amz-Content-Sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		},
		{"a form for STS", Forward{Method: "POST", Body: []byte("abc"), API: STS}, "/", url.Values{}, map[string]string{}},
		{
			"an admin call",
			Forward{Method: "POST", Bucket: "minio", Key: "admin/v3/x", Body: []byte("abc"), API: Admin},
			"/minio/admin/v3/x", with(),
			map[string]string{"X-Amz-Content-Sha256": abc},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, got := recordingMinIO(t, 200, http.Header{"X-Amz-A": {"1"}}, "answer")
			a, err := client.Forwarder().Forward(t.Context(), testActor, &tt.f)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(a); err != nil || string(body) != "answer" || a.Status != 200 || a.Length != 6 || a.Header.Get("X-Amz-A") != "1" || a.Close() != nil {
				t.Errorf("answered %+v with %q, %v", a, body, err)
			}
			want := sent{method: tt.f.Method, path: tt.path, query: tt.query, body: string(tt.f.Body), header: actorsHeaders()}
			for name, value := range tt.header {
				want.header[name] = value
			}
			if s := <-got; !reflect.DeepEqual(s, want) {
				t.Errorf("sent\n%+v, want\n%+v", s, want)
			}
		})
	}
}

func TestForwardedRequestsAreTheirCallers(t *testing.T) {
	t.Parallel()
	client, got := recordingMinIO(t, 200, nil, "")
	declared := storage.Metadata{"X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}
	a, err := client.Forwarder().Forward(t.Context(), storage.Actor{}, &Forward{Method: "GET", Header: declared})
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if s := <-got; !reflect.DeepEqual(s.header, map[string]string{"anonymous": ""}) || s.query.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" {
		t.Errorf("an anonymous caller sends %+v", s)
	}
}

func TestWhatAnswersToForwardedRequestsMean(t *testing.T) {
	t.Parallel()
	const (
		ofS3    = "<Error><Code>C</Code><Message>m</Message></Error>"
		ofSTS   = "<ErrorResponse><Error><Code>C</Code><Message>m</Message></Error></ErrorResponse>"
		ofAdmin = `{"Code":"C","Message":"m"}`
	)
	for _, tt := range []struct {
		api    API
		status int
		body   string
		code   string // of the error; "-" for storage.ErrUnreachable, "ok" for none
	}{
		{S3, 200, "", "ok"},
		{S3, 299, ofS3, "ok"},
		{S3, 304, "", "-"},
		{S3, 307, ofS3, "-"},
		{S3, 400, ofS3, "C"},
		{S3, 503, "", ""},
		{STS, 200, "", "ok"},
		{STS, 302, ofSTS, "-"},
		{STS, 400, ofSTS, "C"},
		{STS, 400, ofS3, "-"},
		{STS, 500, "", "-"},
		{STS, 400, strings.Repeat(" ", maxErrorBody) + ofSTS, "-"},
		{Admin, 204, "", "ok"},
		{Admin, 302, ofAdmin, "-"},
		{Admin, 403, ofAdmin, "C"},
		{Admin, 403, "not JSON", ""},
	} {
		client := fakeMinIO(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		a, err := client.Forwarder().Forward(t.Context(), testActor, &Forward{Method: "GET", API: tt.api})
		if err == nil {
			_ = a.Close()
		}
		var refusal *storage.Error
		switch {
		case tt.code == "ok":
			if err != nil || a.Status != tt.status {
				t.Errorf("%+v: %v", tt, err)
			}
		case tt.code == "-":
			if !errors.Is(err, storage.ErrUnreachable) {
				t.Errorf("%+v: %v", tt, err)
			}
		case !errors.As(err, &refusal) || refusal.Status != tt.status || refusal.Code != tt.code || refusal.Message != map[string]string{"C": "m"}[tt.code]:
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
