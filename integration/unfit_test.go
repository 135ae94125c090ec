package integration

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const unfitMessage = "The storage behind this encryption gateway does not keep what encrypted objects need; its log says what."

// forgetful makes MinIO a storage that has lost the records of the canaries for
// which lose is true.
func forgetful(lose func(r *http.Request) bool) lie {
	return lie{alter: func(r *http.Request, resp *http.Response) {
		if strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/canary/") && lose(r) {
			resp.Header.Del("X-Amz-Meta-Bucketseal")
		}
	}}
}

// A storage that answers 200 and loses records has lost the objects: nothing is
// served in front of it, and the log says what it lacks.
func TestStorageThatLosesRecordsIsNotServed(t *testing.T) {
	needsSeal(t)
	for name, test := range map[string]struct {
		lie  lie
		says string
	}{
		"of uploads":          {forgetful(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/put") }), "an upload loses metadata"},
		"of uploads in parts": {forgetful(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/parts") }), "an upload in parts loses metadata"},
		"in listings": {lie{alter: func(r *http.Request, resp *http.Response) {
			if isListing(r, systemBucket) {
				alterBody(resp, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("X-Amz-Meta-Bucketseal"), []byte("X-Other")) })
			}
		}}, "its listings show no metadata"},
		"conditions": {lie{answer: func(r *http.Request) *http.Response {
			if !strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/canary/") || r.Header.Get("If-None-Match") == "" {
				return nil
			}
			_, _ = io.Copy(io.Discard, r.Body)
			return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Header: http.Header{"Etag": {`"0"`}}, Body: http.NoBody}
		}}, "does not obey If-None-Match"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			m, err := startMinIO(dir, "", false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.kill)
			up, err := newSaboteur(m.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(up.close)
			up.tell(test.lie)
			s := &stack{dir: dir, minio: m}
			if s.seal, err = startSealWith(dir, "http://"+up.at, writeFile(t, dir, "bucketseal.yml", []byte("data_dir: keys\n"))); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.stop() })
			c := s.client()
			for _, r := range []request{
				{method: http.MethodPut, bucket: "bucket"},
				{method: http.MethodPut, bucket: "bucket", key: "k", body: []byte("x")},
				{method: http.MethodGet, bucket: "bucket", key: "k"},
				{method: http.MethodDelete, bucket: "bucket", key: "k"},
				{method: http.MethodGet, path: "/"},
				{method: http.MethodGet, path: "/minio/admin/v3/info"},
			} {
				if a := c.do(t, r); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), unfitMessage) {
					t.Errorf("%s %s%s: %d %s", r.method, r.path, r.key, a.status, a.body)
				}
			}
			if log := s.seal.logSince(0); strings.Count(log, "nothing is served") != 1 || !strings.Contains(log, test.says) {
				t.Errorf("the log does not say what the storage lacks: %s", log)
			}
			if s.seal.isReady() {
				t.Error("the proxy says that it is ready")
			}
			up.honest()
			waitFor(t, 20*time.Second, "a storage that was put right to be served", s.seal.isReady)
			bucket := newBucket(t, c)
			c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
			c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("x"))
			left := s.raw().list(t, systemBucket, "list-type", "2", "prefix", "canary/")
			if len(left.Contents) > 0 {
				t.Errorf("canaries are left: %v", left.Contents)
			}
		})
	}
}

// The storage is checked again when another program, or the same one after a
// while, answers in its place.
func TestStorageIsCheckedAgainWhenItWasReplaced(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(h *hostile){
		"after it could not be reached": func(h *hostile) {
			h.up.order(raw("", 0))
			_, _ = h.root.try(request{method: http.MethodGet, path: "/"})
			h.up.order(nil)
			h.up.tell(forgetful(func(*http.Request) bool { return true }))
		},
		"by another program": func(h *hostile) {
			h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				resp.Header.Set("Server", "Another")
				forgetful(func(*http.Request) bool { return true }).alter(r, resp)
			}})
			_, _ = h.root.try(request{method: http.MethodGet, path: "/"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, "")
			bucket := newBucket(t, h.root)
			h.root.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
			replace(h)
			h.root.put(t, bucket, "k", []byte("y"), nil).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", unfitMessage)
			h.root.get(t, bucket, "k", nil).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", unfitMessage)
		})
	}
}

// Another storage is another storage, and not a MinIO with some lie: the mock
// drops the metadata of uploads in parts and of copies.
func TestMotoIsNotServed(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	addr := moto(t)
	dir := t.TempDir()
	seal, err := startSealWith(dir, "http://"+addr, writeFile(t, dir, "bucketseal.yml", []byte("data_dir: keys\n")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	a := newClient(seal.endpoint(), rootUser, rootPassword).do(t, request{method: http.MethodPut, bucket: "bucket"})
	a.wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", unfitMessage)
	if log := seal.logSince(0); !strings.Contains(log, "a copy of an object onto itself loses metadata") {
		t.Errorf("the log does not say what the storage lacks: %s", log)
	}
}
