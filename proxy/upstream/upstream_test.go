package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// fakeMinIO answers with f, and returns a client of it.
func fakeMinIO(t *testing.T, f http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

var testCredential = &storage.Credential{AccessKey: "access", SecretKey: "topsecret"}

func TestNamesReachMinIOByteForByte(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI })
	for _, tt := range []struct{ bucket, key, want string }{
		{"", "", "/"},
		{"b", "", "/b"},
		{"b", "k", "/b/k"},
		{"b", "a//b", "/b/a//b"},
		{"b", "/a", "/b//a"},
		{"b", "a/", "/b/a/"},
		{"b", "a/../b", "/b/a/../b"},
		{"b", "./a", "/b/./a"},
		{"b", "a b", "/b/a%20b"},
		{"b", "a+b", "/b/a%2Bb"},
		{"b", "a%b", "/b/a%25b"},
		{"b", "a%2Fb", "/b/a%252Fb"},
		{"b", "a?b#c", "/b/a%3Fb%23c"},
		{"b", "a;b&c=d", "/b/a%3Bb%26c%3Dd"},
		{"b", "ü€😀", "/b/%C3%BC%E2%82%AC%F0%9F%98%80"},
		{"b", "a\x01\nb", "/b/a%01%0Ab"},
		{"b", "a:b@c!$'()*,~_-.", "/b/a%3Ab%40c%21%24%27%28%29%2A%2C~_-."},
	} {
		resp, err := client.Do(t.Context(), &Request{Method: http.MethodGet, Bucket: tt.bucket, Key: tt.key, Credential: testCredential})
		if err != nil {
			t.Errorf("%q: %v", tt.key, err)
			continue
		}
		Discard(resp)
		if uri := <-got; uri != tt.want {
			t.Errorf("%q is asked for as %s, want %s", tt.key, uri, tt.want)
		}
	}
}

func TestQueriesAreSentAsSigned(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.RawQuery })
	query := url.Values{"prefix": {"a b+c/ü"}, "versions": {""}, "delimiter": {"/"}}
	resp, err := client.Do(t.Context(), &Request{Method: http.MethodGet, Bucket: "b", Query: query, Credential: testCredential})
	if err != nil {
		t.Fatal(err)
	}
	Discard(resp)
	if want := "delimiter=%2F&prefix=a%20b%2Bc%2F%C3%BC&versions="; <-got != want {
		t.Errorf("want %s", want)
	}
}

func TestRequestsAreSignedAsTheCredential(t *testing.T) {
	t.Parallel()
	type seen struct{ authorization, payload, token, agent string }
	got := make(chan seen, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		got <- seen{r.Header.Get("Authorization"), r.Header.Get("X-Amz-Content-Sha256"), r.Header.Get("X-Amz-Security-Token"), r.UserAgent()}
	})
	const sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, tt := range []struct {
		name    string
		r       *Request
		payload string
		signed  bool
	}{
		{"anonymous", &Request{}, "", false},
		{"without a hash", &Request{Credential: testCredential}, "UNSIGNED-PAYLOAD", true},
		{"with a hash", &Request{Credential: testCredential, PayloadHash: sha}, sha, true},
		{"an empty body that would be signed", &Request{Credential: testCredential, SignBody: true}, "UNSIGNED-PAYLOAD", true},
		{"a body that is signed", &Request{Credential: testCredential, SignBody: true, Length: 3, Body: io.NopCloser(strings.NewReader("abc"))}, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", true},
	} {
		tt.r.Method, tt.r.Bucket = http.MethodPut, "b"
		resp, err := client.Do(t.Context(), tt.r)
		if err != nil {
			t.Fatal(err)
		}
		Discard(resp)
		s := <-got
		if s.payload != tt.payload || tt.signed != strings.HasPrefix(s.authorization, "AWS4-HMAC-SHA256 Credential=access/") || s.agent != "bucketseal" {
			t.Errorf("%s: %+v", tt.name, s)
		}
		// Without it, what is seen on the way to MinIO could be sent to a proxy as the client's own.
		if mark := ";" + strings.ToLower(HopHeader); tt.signed && !strings.Contains(s.authorization, mark) {
			t.Errorf("%s: %s is not signed: %s", tt.name, HopHeader, s.authorization)
		}
	}
	resp, err := client.Do(t.Context(), &Request{Method: http.MethodGet, Credential: &storage.Credential{AccessKey: "a", SecretKey: "s", SessionToken: "token"}})
	if err != nil {
		t.Fatal(err)
	}
	Discard(resp)
	if s := <-got; s.token != "token" {
		t.Errorf("the session token is %q", s.token)
	}
}

// closeCount counts how often a body is closed.
type closeCount struct {
	io.Reader
	n int
}

func (c *closeCount) Close() error {
	c.n++
	return nil
}

func TestBodiesHaveTheirExactLengthAndAreClosed(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%d %v %q %v", r.ContentLength, r.TransferEncoding, body, err)
	})
	for _, tt := range []struct{ body, want string }{
		{"", `0 [] "" <nil>`},
		{"abc", `3 [] "abc" <nil>`},
	} {
		body := &closeCount{Reader: strings.NewReader(tt.body)}
		resp, err := client.Do(t.Context(), &Request{Method: http.MethodPut, Bucket: "b", Key: "k", Body: body, Length: int64(len(tt.body)), Credential: testCredential})
		if err != nil {
			t.Fatal(err)
		}
		Discard(resp)
		if s := <-got; s != tt.want {
			t.Errorf("MinIO got %s, want %s", s, tt.want)
		}
		if body.n == 0 {
			t.Errorf("a body of %d bytes was not closed", len(tt.body))
		}
	}
}

func TestShortBodyStoresNothing(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("MinIO took a cut body for a whole one")
		}
	})
	_, err := client.Do(t.Context(), &Request{Method: http.MethodPut, Bucket: "b", Key: "k", Body: io.NopCloser(strings.NewReader("abc")), Length: 4, Credential: testCredential})
	if !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestBodysOwnErrorIsNotLost(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	broken := errors.New("the client's digest does not match")
	body := io.NopCloser(io.MultiReader(strings.NewReader("abc"), errorReader{broken}))
	_, err := client.Do(t.Context(), &Request{Method: http.MethodPut, Bucket: "b", Key: "k", Body: body, Length: 4, Credential: testCredential})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

func TestNobodyListeningIsUnreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	endpoint, _ := url.Parse(server.URL)
	server.Close()
	client, err := New(Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), &Request{Method: http.MethodGet}); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if err := client.Alive(t.Context()); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("health check: %v", err)
	}
}

func TestSilentMinIOIsUnreachable(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	endpoint, _ := url.Parse(server.URL)
	client, err := New(Options{Endpoint: endpoint, HeaderTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), &Request{Method: http.MethodGet}); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestCanceledRequestIsTheContextsError(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := client.Do(ctx, &Request{Method: http.MethodGet})
	if !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestRedirectsAreAnswersAndNotFollowed(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect is followed, with what the request holds")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	resp, err := client.Do(t.Context(), &Request{Method: http.MethodGet, Credential: testCredential})
	if err != nil {
		t.Fatal(err)
	}
	Discard(resp)
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAliveWantsTheHealthPathToSayYes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{200: nil, 503: storage.ErrUnreachable, 404: storage.ErrUnreachable, 301: storage.ErrUnreachable} {
		client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/minio/health/live" || r.Header.Get("Authorization") != "" {
				t.Errorf("asked %s, %v", r.RequestURI, r.Header)
			}
			w.WriteHeader(status)
		})
		if err := client.Alive(t.Context()); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestWhichConnectionsAreSecure(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]bool{
		"https://minio.example":   true,
		"https://192.0.2.1:9000":  true,
		"http://127.0.0.1:9000":   true,
		"http://127.9.9.9":        true,
		"http://[::1]:9000":       true,
		"http://localhost:9000":   true,
		"http://minio:9000":       false,
		"http://192.0.2.1:9000":   false,
		"http://[2001:db8::1]":    false,
		"http://localhost.evil":   false,
		"http://127.0.0.1.nip.io": false,
	} {
		u, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		client, err := New(Options{Endpoint: u})
		if err != nil {
			t.Fatal(err)
		}
		if got := client.Secure(); got != want {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"", "minio:9000", "ftp://minio", "http://", "http://minio/path", "http://minio?x=y", "http://user:topsecret@minio"} {
		u, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(Options{Endpoint: u})
		if err == nil {
			t.Errorf("%q is accepted", endpoint)
		} else if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no endpoint is accepted")
	}
}

func TestCredentialsPrintWithoutTheirSecrets(t *testing.T) {
	t.Parallel()
	c := storage.Credential{AccessKey: "access", SecretKey: "topsecret", SessionToken: "token"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, text := range []string{fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c)} {
			if strings.Contains(text, "topsecret") || strings.Contains(text, "token") || !strings.Contains(text, "access") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
}

// After a lost answer nobody knows whether it was done, and a rival may have put
// something else there since.
func TestRequestsThatChangeAnythingAreSentOnce(t *testing.T) {
	t.Parallel()
	var sent atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		sent.Add(1)
		panic(http.ErrAbortHandler) // done, and the answer is lost
	}))
	t.Cleanup(server.Close)
	endpoint, _ := url.Parse(server.URL)
	client, err := New(Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	service, err := client.NewService(storage.Credential{AccessKey: "a", SecretKey: "secret-of-a"}, "system")
	if err != nil {
		t.Fatal(err)
	}
	body := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
	whole := func(method string, query url.Values) func() error {
		return func() error {
			first, _ := body()
			_, err := client.Do(t.Context(), &Request{Method: method, Bucket: "b", Key: "k", Query: query, Body: first, GetBody: body, Length: 4})
			return err
		}
	}
	bare := func(method string, header http.Header) func() error {
		return func() error {
			_, err := client.Do(t.Context(), &Request{Method: method, Bucket: "b", Key: "k", Header: header})
			return err
		}
	}
	for name, call := range map[string]func() error{
		"DeleteObject":              bare(http.MethodDelete, nil),
		"a client's key for it":     bare(http.MethodDelete, http.Header{"Idempotency-Key": {"1"}, "X-Idempotency-Key": {"1"}}),
		"CopyObject":                bare(http.MethodPut, http.Header{"X-Amz-Copy-Source": {"/b/other"}}),
		"PutObject":                 whole(http.MethodPut, nil),
		"CompleteMultipartUpload":   whole(http.MethodPost, url.Values{"uploadId": {"u"}}),
		"the proxy's own PutObject": func() error { _, err := service.Put(t.Context(), "name", []byte("x"), ""); return err },
	} {
		for range 3 { // the transport repeats only on connections that were used before
			resp, err := client.Do(t.Context(), &Request{Method: http.MethodGet})
			if err != nil {
				t.Fatal(err)
			}
			Discard(resp)
			sent.Store(0)
			if err := call(); err == nil {
				t.Errorf("%s: no error", name)
			}
			if n := sent.Load(); n != 1 {
				t.Errorf("%s was sent %d times", name, n)
			}
		}
	}
}
