package integration

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loseManifest deletes an object's manifest where it lies.
func (h *hostile) loseManifest(t *testing.T, bucket, key string) {
	t.Helper()
	h.stack.raw().do(t, request{method: http.MethodDelete, bucket: systemBucket, key: h.noteOf(t, bucket, key)}).wantStatus(t, http.StatusNoContent)
	h.seal.kill() // it remembers manifests
	h.stack.restart(t)
	h.root = h.client()
}

func TestRescueMakesLostManifestsAnew(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	parts := [][]byte{partData(minPart+1, 1), partData(minPart+packageSize, 2), partData(77, 4)}
	data := bytes.Join(parts, nil)
	customer := customerKey(5)
	keyFile := filepath.Join(h.dir, "customer.key")
	if err := os.WriteFile(keyFile, []byte(customer["X-Amz-Server-Side-Encryption-Customer-Key"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	modes := map[string]struct {
		put, read map[string]string
		flags     []string
	}{
		"s3":         {sseModes()[0].put, nil, nil},
		"kms":        {sseModes()[2].put, nil, nil},
		"sequential": {sseModes()[0].put, nil, []string{"--sequential"}},
		"c":          {customer, customer, []string{"--customer-key-file", keyFile}},
	}
	etags := map[string]string{}
	for name, m := range modes {
		u := h.root.createUpload(t, bucket, name, m.put)
		u.read = m.read
		for i, part := range parts {
			u.put(t, 3*i+3, part)
		}
		etags[name] = u.complete(t)
	}
	c := h.root
	u := c.createUpload(t, bucket, "empty", nil)
	u.put(t, 1, nil)
	u.complete(t)
	c.do(t, request{method: http.MethodPut, bucket: bucket, key: "copy", header: map[string]string{"X-Amz-Copy-Source": bucket + "/s3"}}).wantStatus(t, http.StatusOK)
	modes["copy"], etags["copy"] = modes["s3"], etags["s3"]
	streamed := testData(700_000, 9)
	c.put(t, bucket, "streamed", streamed, nil).wantStatus(t, http.StatusOK)

	if _, err := h.stack.command(t, "object", "rescue", bucket+"/s3"); err == nil || !strings.Contains(err.Error(), "nothing is lost") {
		t.Errorf("rescue of what is not lost: %v", err)
	}
	for name, m := range modes {
		h.loseManifest(t, bucket, name)
		h.root.get(t, bucket, name, m.read).wantError(t, http.StatusInternalServerError, "InternalError", "")
		out, err := h.stack.command(t, append([]string{"object", "rescue", bucket + "/" + name}, m.flags...)...)
		if err != nil || !strings.Contains(out, "unproven") || !strings.Contains(out, etags[name]) {
			t.Errorf("%s: rescue: %v %s", name, err, out)
		}
		a := h.root.get(t, bucket, name, m.read).wantStatus(t, http.StatusOK).wantBody(t, data)
		a.wantHeader(t, map[string]string{"Etag": etags[name], "X-Bucketseal-Manifest": "unproven"})
		wantObject(t, h.root, bucket, name, etags[name], m.read, parts...)
		if !strings.Contains(h.seal.logSince(0), "object rescue") {
			t.Errorf("%s: the log does not say that the manifest is unproven", name)
		}
		if name != "copy" && name != "c" {
			h.root.do(t, request{method: http.MethodGet, bucket: bucket, key: name, query: "partNumber=6"}).wantStatus(t, http.StatusPartialContent).wantBody(t, parts[1])
		}
	}
	for _, flags := range [][]string{nil, {"--sequential"}} {
		h.loseManifest(t, bucket, "empty")
		if out, err := h.stack.command(t, append([]string{"object", "rescue", bucket + "/empty"}, flags...)...); err != nil {
			t.Errorf("empty: %v %s", err, out)
		}
		wantObject(t, h.root, bucket, "empty", multipartETag(nil), nil, nil)
	}
	h.loseManifest(t, bucket, "streamed")
	h.root.get(t, bucket, "streamed", nil).wantStatus(t, http.StatusInternalServerError)
	if out, err := h.stack.command(t, "object", "rescue", bucket+"/streamed"); err != nil || !strings.Contains(out, "proven by") {
		t.Errorf("streamed: %v %s", err, out)
	}
	h.root.get(t, bucket, "streamed", nil).wantStatus(t, http.StatusOK).wantBody(t, streamed).
		wantHeader(t, map[string]string{"Etag": md5ETag(streamed), "X-Bucketseal-Manifest": ""})
}

// What can be told is told: damage, parts that do not make upstream's ETag, a
// manifest that is there.
func TestRescueRefusesWhatContradictsItself(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	parts := [][]byte{partData(minPart+5, 60), partData(minPart+5, 61), partData(9000, 62)}
	var second [][]byte
	h.up.order(h.sentParts(bucket, "k", 2, &second))
	u := h.root.createUpload(t, bucket, "k", nil)
	u.put(t, 2, partData(minPart+5, 63))
	for i, part := range parts {
		u.put(t, i+1, part)
	}
	etag := u.complete(t)
	h.up.order(nil)
	enc := h.stack.raw().get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).body
	n := int(cipherSize(len(parts[0])))
	note := h.noteOf(t, bucket, "k")
	sealed := h.stack.raw().head(t, systemBucket, note, nil).header.Get("X-Amz-Meta-Sealed")
	h.loseManifest(t, bucket, "k")
	for name, forged := range map[string][]byte{
		"exchanged":     bytes.Join([][]byte{enc[n : 2*n], enc[:n], enc[2*n:]}, nil),
		"sent earlier":  bytes.Join([][]byte{enc[:n], second[0], enc[2*n:]}, nil),
		"last one gone": enc[:2*n],
		"flipped":       flipAt(enc, len(enc)-100),
		"cut":           enc[:len(enc)-1],
	} {
		h.up.order(h.forged(t, bucket, "k", forged))
		for _, flags := range [][]string{nil, {"--sequential"}} {
			if out, err := h.stack.command(t, append([]string{"object", "rescue", bucket + "/k"}, flags...)...); err == nil {
				t.Errorf("%s %v: rescued: %s", name, flags, out)
			}
		}
		h.up.order(nil)
	}
	// A manifest that does not open is replaced on request only.
	h.stack.raw().do(t, request{
		method: http.MethodPut, bucket: systemBucket, key: note, query: query("X-Amz-Meta-Sealed", flipRecord(sealed, -1)),
	}).wantStatus(t, http.StatusOK)
	h.root.get(t, bucket, "k", nil).wantStatus(t, http.StatusInternalServerError)
	if _, err := h.stack.command(t, "object", "rescue", bucket+"/k"); err == nil {
		t.Error("a manifest was replaced without --replace")
	}
	if out, err := h.stack.command(t, "object", "rescue", "--replace", bucket+"/k"); err != nil {
		t.Errorf("%v %s", err, out)
	}
	wantObject(t, h.root, bucket, "k", etag, nil, parts...)
	// From now on the parts are committed to again.
	h.up.order(h.forged(t, bucket, "k", bytes.Join([][]byte{enc[:n], second[0], enc[2*n:]}, nil)))
	o := stored{name: "k", bucket: bucket, key: "k", data: bytes.Join(parts, nil), etag: etag, authentic: true}
	if a := h.readOnce(t, o, http.MethodGet, 0, len(o.data), ""); a.complete() {
		t.Error("an exchanged part is read")
	}
}
