package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// isNote says whether a request reads manifests of the bucket's objects.
func isNote(r *http.Request, bucket string) bool {
	return r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/late/"+bucket+"/")
}

// noteOf is the name of an object's manifest in the system bucket.
func (h *hostile) noteOf(t *testing.T, bucket, key string) string {
	t.Helper()
	a := h.stack.raw().do(t, request{
		method: http.MethodGet, bucket: systemBucket,
		query: query("encoding-type", "url", "list-type", "2", "prefix", "late/"+bucket+"/"+key+"\x01"),
	}).wantStatus(t, http.StatusOK)
	found := regexp.MustCompile(`<Key>([^<]*)</Key>`).FindSubmatch(a.body)
	if found == nil {
		t.Fatalf("no manifest of %s/%s: %s", bucket, key, a.body)
	}
	name, err := url.QueryUnescape(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHostileUpstreamAttacksManifests(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	const sealed = "X-Amz-Meta-Sealed"
	data, other := testData(300_001, 40), testData(300_001, 41)
	h.root.put(t, bucket, "other", other, nil).wantStatus(t, http.StatusOK)
	otherNote := h.stack.raw().head(t, systemBucket, h.noteOf(t, bucket, "other"), nil).header.Get(sealed)
	status := func(code int) act {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	alter := func(f func(http.Header)) act {
		return func(w http.ResponseWriter, r *http.Request) bool {
			theirs := h.fetchRaw(http.MethodHead, systemBucket, strings.TrimPrefix(r.URL.Path, "/"+systemBucket+"/"), nil)
			f(theirs.Header)
			for name, values := range theirs.Header {
				w.Header()[name] = values
			}
			return true
		}
	}
	for name, tc := range map[string]act{
		"deleted":        status(http.StatusNotFound),
		"refused":        status(http.StatusForbidden),
		"failing":        status(http.StatusInternalServerError),
		"not modified":   status(http.StatusNotModified),
		"empty":          status(http.StatusOK),
		"redirected":     status(http.StatusTemporaryRedirect),
		"cut off":        raw("HTTP/1.1 200 OK\r\n", 0),
		"silent":         raw("", time.Minute),
		"of another":     alter(func(hd http.Header) { hd.Set(sealed, otherNote) }),
		"flipped":        alter(func(hd http.Header) { hd.Set(sealed, flipRecord(hd.Get(sealed), -3)) }),
		"key flipped":    alter(func(hd http.Header) { hd.Set(sealed, flipRecord(hd.Get(sealed), 4)) }),
		"cut":            alter(func(hd http.Header) { hd.Set(sealed, hd.Get(sealed)[:40]) }),
		"not base64":     alter(func(hd http.Header) { hd.Set(sealed, "%%%") }),
		"plain":          alter(func(hd http.Header) { hd.Set(sealed, "AQIQAAAAAAAAAAAAAAAAAAAAAAA") }),
		"the record":     alter(func(hd http.Header) { hd.Set(sealed, "AQEBAQ") }),
		"another's name": alter(func(hd http.Header) { hd["X-Amz-Meta-Sealed-2"] = hd[sealed]; hd.Del(sealed) }),
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-") // unseen yet, so that the proxy must ask
			h.up.honest()
			h.root.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
			o := stored{name: name, bucket: bucket, key: key, data: data, etag: md5ETag(data), authentic: true}
			h.up.order(func(w http.ResponseWriter, r *http.Request) bool { return isNote(r, bucket) && tc(w, r) })
			if a := h.readOnce(t, o, http.MethodGet, 0, len(data), ""); a.complete() {
				t.Error("the object is read without its manifest")
			} else if a.status == http.StatusNotFound || a.status == http.StatusNotModified {
				t.Errorf("status %d: the object exists and is not known to the client", a.status)
			}
			if name == "silent" {
				return
			}
			h.readOnce(t, o, http.MethodGet, len(data)-50, len(data), "bytes=-50")
			h.readOnce(t, o, http.MethodHead, 0, len(data), "")
			h.up.honest()
			if a := h.readOnce(t, o, http.MethodGet, 0, len(data), ""); !a.complete() {
				t.Errorf("not readable when the upstream is honest again: %d %s", a.status, a.code)
			}
		})
	}
}

// index is where the bucket rules lie.
const indexPath = "/" + systemBucket + "/rules/index"

// wantRuleHeld writes without asking for encryption into a bucket whose rule
// says aws:kms, where objects without a rule are stored plain.
func (h *hostile) wantRuleHeld(t *testing.T, bucket string) answer {
	t.Helper()
	data := testData(5000, 99)
	a, err := h.root.try(request{method: http.MethodPut, bucket: bucket, key: "written", body: data, limit: hostileLimit})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	switch {
	case a.status == http.StatusOK && a.header.Get("X-Amz-Server-Side-Encryption") == "aws:kms":
	case a.status >= 400 && a.code != "":
	default:
		t.Errorf("status %d %s, encryption %q: the bucket's rule is not obeyed", a.status, a.code, a.header.Get("X-Amz-Server-Side-Encryption"))
	}
	wantNoPlaintext(t, "what lies upstream", h.stack.raw().get(t, bucket, "written", nil).body, data)
	return a
}

func TestHostileUpstreamAttacksBucketRules(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "auto_encryption: off\n")
	bucket := newBucket(t, h.root)
	h.root.put(t, bucket, "plain", []byte("stored readable, on purpose"), nil).wantStatus(t, http.StatusOK)
	older := h.stack.raw().get(t, systemBucket, "rules/index", nil).wantStatus(t, http.StatusOK)
	h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	h.wantRuleHeld(t, bucket)
	h.unharmed(t)

	answer := func(status int, header http.Header, body string) act {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != indexPath || r.Method != http.MethodGet {
				return false
			}
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Header().Del("Content-Length")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	s3Error := func(code string) string { return "<Error><Code>" + code + "</Code><Message>m</Message></Error>" }
	etag := http.Header{"Etag": {`"1"`}, "Last-Modified": {time.Now().UTC().Format(http.TimeFormat)}}
	current := h.stack.raw().get(t, systemBucket, "rules/index", nil).wantStatus(t, http.StatusOK)
	for name, tc := range map[string]struct {
		act act
		// refused says that the write must fail.
		refused bool
	}{
		"deleted":       {answer(http.StatusNotFound, nil, s3Error("NoSuchKey")), true},
		"bucket gone":   {answer(http.StatusNotFound, nil, s3Error("NoSuchBucket")), true},
		"denied":        {answer(http.StatusForbidden, nil, s3Error("AccessDenied")), true},
		"empty":         {answer(http.StatusOK, etag, ""), true},
		"rolled back":   {answer(http.StatusOK, older.header, string(older.body)), true},
		"plain":         {answer(http.StatusOK, etag, `{"version":1,"generation":9,"rules":[]}`), true},
		"flipped":       {answer(http.StatusOK, etag, string(flipAt(current.body, len(current.body)-1))), true},
		"key flipped":   {answer(http.StatusOK, etag, string(flipAt(current.body, 40))), true},
		"cut":           {answer(http.StatusOK, etag, string(current.body[:len(current.body)-1])), true},
		"appended":      {answer(http.StatusOK, etag, string(current.body)+"x"), true},
		"without ETag":  {answer(http.StatusOK, nil, string(current.body)), true},
		"never changed": {answer(http.StatusNotModified, nil, ""), false}, // true, as it happens
		"silent": {func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == indexPath && raw("", time.Minute)(w, r)
		}, true},
		"endless": {func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == indexPath && endless(w, "x")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "silent" {
				needsTime(t)
			}
			h.up.order(tc.act)
			time.Sleep(400 * time.Millisecond) // until the lease of what is known has ended
			if a := h.wantRuleHeld(t, bucket); tc.refused && a.status == http.StatusOK {
				t.Errorf("status %d, although the rules cannot be known", a.status)
			}
			h.up.honest()
		})
	}
	h.wantRuleHeld(t, bucket).wantStatus(t, http.StatusOK)
}

func flipAt(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// endless writes until the other side has enough.
func endless(w http.ResponseWriter, piece string) bool {
	block := []byte(strings.Repeat(piece, 1+(64<<10)/len(piece)))
	for range 1 << 14 {
		if _, err := w.Write(block); err != nil {
			break
		}
	}
	return true
}

// The rule of a bucket that was deleted and made anew does not apply, and only
// upstream knows when a bucket was made.
func TestHostileUpstreamLiesAboutCreationDates(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "auto_encryption: off\n")
	bucket := newBucket(t, h.root)
	h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	h.wantRuleHeld(t, bucket)
	h.seal.kill()
	h.stack.restart(t)
	h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
		if r.URL.Path == "/" {
			alterBody(resp, func(b []byte) []byte {
				return regexp.MustCompile(`<CreationDate>20`).ReplaceAll(b, []byte(`<CreationDate>19`))
			})
		}
	}})
	h.wantRuleHeld(t, bucket)
}

// Two deployments over one key store and one MinIO do not take each other's
// system objects.
func TestSystemObjectsOfAnotherDeploymentAreRefused(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	c.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	index := s.raw().get(t, systemBucket, "rules/index", nil).wantStatus(t, http.StatusOK)
	s.raw().do(t, request{method: http.MethodPut, bucket: "other-system"}).wantStatus(t, http.StatusOK)
	s.raw().put(t, "other-system", "rules/index", index.body, nil).wantStatus(t, http.StatusOK)
	for deployment, accepted := range map[string]bool{"default": true, "other": false} {
		file := filepath.Join(s.dir, deployment+".yml")
		if err := os.WriteFile(file, []byte("system_bucket: other-system\ndeployment: "+deployment+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		seal, err := startSealWith(s.dir, s.minio.endpoint(), file, "BUCKETSEAL_DATA_DIR="+s.seal.dataDir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(seal.kill)
		if accepted {
			waitFor(t, startLimit, "the proxy to be ready", seal.isReady)
		}
		a := newClient(seal.endpoint(), rootUser, rootPassword).put(t, bucket, deployment, []byte("x"), nil)
		if accepted != (a.status == http.StatusOK) || !accepted && a.status < 500 {
			t.Errorf("deployment %s: PUT: %d %s", deployment, a.status, a.code)
		}
	}
}
