package client_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
)

// fault is what goes wrong with requests to a path.
type fault struct {
	status  int    // answer this
	message string // with this text
	drop    bool   // or break the connection
	acted   bool   // after the request had its effect
	delay   time.Duration
	times   int // 0: always
}

// fakeKES is a key server that behaves as MinIO's KES does, and worse on
// request.
type fakeKES struct {
	*httptest.Server

	mu       sync.Mutex
	keys     map[string]*fakeKey
	faults   map[string]*fault
	calls    map[string]int
	protos   map[string]int
	raw      map[string]string // answers of paths as they are
	pageSize int               // of listings
	token    bool              // listings continue by a token
	circle   bool              // listings never end
}

type fakeKey struct {
	key       *kms.Key
	createdBy string
	createdAt time.Time
}

// startKES runs a fake until the test ends.
func startKES(t *testing.T) *fakeKES {
	t.Helper()
	return startKESOn(t, "127.0.0.1:0")
}

func startKESOn(t *testing.T, addr string) *fakeKES {
	t.Helper()
	f := &fakeKES{
		keys: make(map[string]*fakeKey), faults: make(map[string]*fault), calls: make(map[string]int),
		protos: make(map[string]int), raw: make(map[string]string), pageSize: 1024,
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	if addr != "127.0.0.1:0" {
		l, err := net.Listen("tcp", addr)
		must(t, err)
		f.Listener.Close()
		f.Listener = l
	}
	f.EnableHTTP2 = true
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	f.StartTLS()
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// ca writes the server's certificate to a file.
func (f *fakeKES) ca(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600))
	return path
}

func (f *fakeKES) inject(path string, flt fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[path] = &flt
}

func (f *fakeKES) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

func (f *fakeKES) addKey(name, createdBy string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[name] = &fakeKey{key: kms.NewKey(at, createdBy), createdBy: createdBy, createdAt: at}
}

func (f *fakeKES) serve(w http.ResponseWriter, r *http.Request) {
	path, name := splitPath(r.URL.Path)
	f.mu.Lock()
	f.calls[path]++
	f.protos[r.Proto]++
	flt := f.takeFault(path)
	raw, isRaw := f.raw[path]
	f.mu.Unlock()
	if flt.delay > 0 {
		select {
		case <-time.After(flt.delay):
		case <-r.Context().Done():
			return
		}
	}
	if flt.acted {
		f.handle(httptest.NewRecorder(), r, path, name)
	}
	switch {
	case flt.drop:
		panic(http.ErrAbortHandler)
	case flt.status != 0:
		refuse(w, flt.status, flt.message)
	case isRaw:
		fmt.Fprint(w, raw)
	default:
		f.handle(w, r, path, name)
	}
}

func (f *fakeKES) takeFault(path string) fault {
	flt, ok := f.faults[path]
	if !ok {
		return fault{}
	}
	if flt.times > 0 {
		if flt.times--; flt.times == 0 {
			delete(f.faults, path)
		}
	}
	return *flt
}

func splitPath(p string) (path, name string) {
	parts := strings.SplitN(strings.TrimPrefix(p, "/"), "/", 4)
	if len(parts) < 4 || parts[2] == "self" {
		return p, ""
	}
	return "/" + strings.Join(parts[:3], "/") + "/", parts[3]
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"message\":%q\n}", message)
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err)
	}
}

func identityOf(r *http.Request) string {
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func (f *fakeKES) handle(w http.ResponseWriter, r *http.Request, path, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch path {
	case "/version":
		reply(w, map[string]string{"version": "2026-01-01", "commit": "abc"})
	case "/v1/ready":
	case "/v1/key/create/", "/v1/key/import/":
		f.create(w, r, path, name)
	case "/v1/key/list/":
		f.list(w, name)
	default:
		f.withKey(w, r, path, name)
	}
}

func (f *fakeKES) create(w http.ResponseWriter, r *http.Request, path, name string) {
	if _, ok := f.keys[name]; ok {
		refuse(w, 400, "key already exists")
		return
	}
	key := kms.NewKey(time.Now(), identityOf(r))
	if strings.Contains(path, "import") {
		var in struct {
			Key    []byte
			Cipher string
		}
		if json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Key) != 32 {
			refuse(w, 400, "invalid request body")
			return
		}
		algorithm, err := kms.ParseAlgorithm(in.Cipher)
		if err != nil {
			refuse(w, 406, "invalid cipher")
			return
		}
		key = kms.ImportedKey([32]byte(in.Key), algorithm, time.Now(), identityOf(r))
	}
	f.keys[name] = &fakeKey{key: key, createdBy: identityOf(r), createdAt: time.Now()}
}

func (f *fakeKES) list(w http.ResponseWriter, prefix string) {
	if f.circle {
		reply(w, map[string]any{"names": []string{"a"}, "continue_at": "~token"})
		return
	}
	start := ""
	if token, ok := strings.CutPrefix(prefix, "~"); ok && f.token {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			refuse(w, 400, "bad token")
			return
		}
		prefix, start, _ = strings.Cut(string(raw), " ")
	} else if prefix != "" && kms.ValidateKeyName(prefix) != nil {
		refuse(w, 400, "listing pattern '"+prefix+"' is empty, too long or is invalid")
		return
	}
	var names []string
	for name := range f.keys {
		if strings.HasPrefix(name, prefix) && name >= start {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := map[string]any{"names": names}
	if len(names) > f.pageSize {
		out["names"], out["continue_at"] = names[:f.pageSize], names[f.pageSize]
		if f.token {
			out["continue_at"] = "~" + base64.RawURLEncoding.EncodeToString([]byte(prefix+" "+names[f.pageSize]))
		}
	}
	reply(w, out)
}

func (f *fakeKES) withKey(w http.ResponseWriter, r *http.Request, path, name string) {
	k, ok := f.keys[name]
	if !ok {
		refuse(w, 404, "key does not exist")
		return
	}
	var in struct{ Plaintext, Ciphertext, Context, Message []byte }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, 400, "invalid request body")
		return
	}
	switch path {
	case "/v1/key/delete/":
		delete(f.keys, name)
	case "/v1/key/describe/":
		reply(w, map[string]any{"name": name, "algorithm": "AES256", "created_at": k.createdAt, "created_by": k.createdBy})
	case "/v1/key/generate/":
		dek := make([]byte, 32)
		_, _ = rand.Read(dek)
		sealed, err := k.key.Encrypt(dek, in.Context)
		if err != nil {
			panic(err)
		}
		reply(w, map[string]any{"plaintext": dek, "ciphertext": sealed})
	case "/v1/key/encrypt/":
		sealed, err := k.key.Encrypt(in.Plaintext, in.Context)
		if err != nil {
			panic(err)
		}
		reply(w, map[string]any{"ciphertext": sealed})
	case "/v1/key/decrypt/":
		plain, err := k.key.Decrypt(in.Ciphertext, in.Context)
		if err != nil {
			refuse(w, 400, "decryption failed: ciphertext is not authentic")
			return
		}
		reply(w, map[string]any{"plaintext": plain})
	case "/v1/key/hmac/":
		if r.Method != http.MethodPut {
			refuse(w, 405, "received method 'POST' expected 'PUT'")
			return
		}
		sum, err := k.key.HMAC(in.Message)
		if err != nil {
			refuse(w, 409, "key does not support HMAC")
			return
		}
		reply(w, map[string]any{"hmac": sum})
	default:
		http.NotFound(w, r)
	}
}

// testAPIKey is the key of 32 zero bytes; testIdentity is what it stands for.
const testAPIKey = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func testOptions(t *testing.T, servers ...*fakeKES) client.Options {
	t.Helper()
	opts := client.Options{APIKey: testAPIKey, Timeout: 5 * time.Second}
	for _, s := range servers {
		opts.Endpoints = append(opts.Endpoints, s.URL)
	}
	opts.CAPath = servers[0].ca(t) // all fakes have httptest's certificate
	return opts
}

func dial(t *testing.T, servers ...*fakeKES) *client.Client {
	t.Helper()
	c, err := client.New(testOptions(t, servers...))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
