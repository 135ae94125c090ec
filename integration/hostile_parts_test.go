package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forged serves bytes of the test's making in place of an object's, whole and in
// ranges, with the headers that MinIO has for the object itself.
func (h *hostile) forged(t *testing.T, bucket, key string, enc []byte) act {
	t.Helper()
	true_ := h.stack.raw().head(t, bucket, key, nil).wantStatus(t, http.StatusOK)
	return onObject(bucket, key, "GET HEAD", func(w http.ResponseWriter, r *http.Request) bool {
		header := w.Header()
		for name, values := range true_.header {
			header[name] = values
		}
		from, to, status := 0, len(enc), http.StatusOK
		if rng := r.Header.Get("Range"); rng != "" {
			from, to = rawRange(rng, len(enc))
			header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(enc)))
			status = http.StatusPartialContent
		}
		header.Set("Content-Length", strconv.Itoa(to-from))
		w.WriteHeader(status)
		if r.Method == http.MethodGet {
			_, _ = w.Write(enc[from:to])
		}
		return true
	})
}

// rawRange reads one of the forms of Range that the proxy sends.
func rawRange(header string, size int) (from, to int) {
	first, last, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	from, _ = strconv.Atoi(first)
	to, err := strconv.Atoi(last)
	switch {
	case first == "":
		return max(size-to, 0), size
	case err != nil:
		return min(from, size), size
	default:
		return min(from, size), min(to+1, size)
	}
}

// sentParts keeps what the proxy sends upstream as parts, in the order of sending.
func (h *hostile) sentParts(bucket, key string, number int, into *[][]byte) act {
	return onObject(bucket, key, "PUT", func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == strconv.Itoa(number) {
			body, _ := io.ReadAll(r.Body)
			*into = append(*into, body)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return false
	})
}

func TestHostileUpstreamExchangesParts(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	for _, m := range sseModes()[:2] {
		key := strings.ReplaceAll(m.name, " ", "-")
		parts := [][]byte{partData(minPart+5, 60), partData(minPart+5, 61), partData(packageSize+9, 62)}
		whole := func(key string, seed uint64) []byte {
			u := h.root.createUpload(t, bucket, key, m.put)
			u.put(t, 1, partData(minPart+5, seed))
			u.put(t, 2, partData(minPart+5, seed+1))
			u.put(t, 3, partData(packageSize+9, seed+2))
			u.complete(t)
			return h.stack.raw().get(t, bucket, key, nil).wantStatus(t, http.StatusOK).body
		}
		otherObject, otherUpload := whole("other-"+key, 64), whole(key, 68)
		var second [][]byte
		h.up.order(h.sentParts(bucket, key, 2, &second))
		u := h.root.createUpload(t, bucket, key, m.put)
		u.put(t, 2, partData(minPart+5, 63)) // an earlier upload of the same part
		for i, data := range parts {
			u.put(t, i+1, data)
		}
		o := stored{name: m.name, bucket: bucket, key: key, data: bytes.Join(parts, nil), etag: u.complete(t), authentic: m.md5}
		h.up.honest()
		enc := h.stack.raw().get(t, bucket, key, nil).wantStatus(t, http.StatusOK).body
		n := int(cipherSize(len(parts[0])))
		if len(second) != 2 || !bytes.Equal(second[1], enc[n:2*n]) || len(otherObject) != len(enc) {
			t.Fatalf("%d uploads of part 2 seen", len(second))
		}
		one, two, three := enc[:n], enc[n:2*n], enc[2*n:]
		for name, forgery := range map[string][]byte{
			"part dropped":                   slices.Concat(one, three),
			"first part dropped":             slices.Concat(two, three),
			"last part dropped":              slices.Concat(one, two),
			"parts exchanged":                slices.Concat(two, one, three),
			"part repeated":                  slices.Concat(one, one, three),
			"part sent earlier":              slices.Concat(one, second[0], three),
			"part of another upload":         slices.Concat(one, otherUpload[n:2*n], three),
			"part of another object":         slices.Concat(one, otherObject[n:2*n], three),
			"part appended":                  slices.Concat(enc, three),
			"another upload whole":           otherUpload,
			"another object whole":           otherObject,
			"end of one part, moved":         slices.Concat(one[:n-sealedPackage], two[n-sealedPackage:], two[:n-sealedPackage], one[n-sealedPackage:], three),
			"package of an earlier upload":   slices.Concat(one, second[0][:sealedPackage], two[sealedPackage:], three),
			"package of another part":        slices.Concat(one, one[:sealedPackage], two[sealedPackage:], three),
			"last package of another upload": slices.Concat(one, two[:n-n%sealedPackage], otherUpload[2*n-n%sealedPackage:2*n], three),
		} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				h.up.order(h.forged(t, bucket, key, forgery))
				if a := h.readOnce(t, o, http.MethodGet, 0, len(o.data), ""); a.complete() {
					t.Error("the object is read")
				}
				first := len(parts[0])
				for _, r := range [][2]int{{0, 10}, {first - 1, first + 1}, {first, first + 100_000}, {first + 10, 2 * first}, {2*first - 3, len(o.data)}, {len(o.data) - 50, len(o.data)}} {
					h.readOnce(t, o, http.MethodGet, r[0], r[1], fmt.Sprintf("bytes=%d-%d", r[0], r[1]-1))
				}
				h.readOnce(t, o, http.MethodGet, len(o.data)-70_000, len(o.data), "bytes=-70000")
				h.partOf(t, o, 2, parts[1])
			})
		}
		h.up.honest()
		h.readEveryWay(t, o)
		if a := h.partOf(t, o, 2, parts[1]); !a.complete() {
			t.Errorf("part 2 of an honest upstream: %d %s", a.status, a.code)
		}
	}
}

// partOf reads one part, which must be right if it is complete.
func (h *hostile) partOf(t *testing.T, o stored, number int, want []byte) answer {
	t.Helper()
	a, err := h.root.try(request{method: http.MethodGet, bucket: o.bucket, key: o.key, query: query("partNumber", strconv.Itoa(number)), limit: hostileLimit})
	if err != nil {
		a.bodyErr = err
	} else if a.complete() && !bytes.Equal(a.body, want) || a.status < 300 && !bytes.HasPrefix(want, a.body) {
		t.Errorf("%s: part %d: %d bytes that are not the part's", o.name, number, len(a.body))
	}
	return a
}

// Manifests of objects of parts are two things, what is known and the table of
// parts; each is attacked where the proxy has not seen it yet.
func TestHostileUpstreamAttacksManifestsOfParts(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	const sealed = "X-Amz-Meta-Sealed"
	other := h.root.createUpload(t, bucket, "other", nil)
	other.put(t, 1, partData(400_001, 60))
	other.complete(t)
	of := h.noteOf(t, bucket, "other")
	otherNote := h.stack.raw().get(t, systemBucket, of, nil).wantStatus(t, http.StatusOK)
	give := func(status int, header func(http.Header), body func([]byte) []byte) act {
		return func(w http.ResponseWriter, r *http.Request) bool {
			theirs := h.stack.raw().do(t, request{method: http.MethodGet, bucket: systemBucket, key: strings.TrimPrefix(r.URL.Path, "/"+systemBucket+"/")})
			for name, values := range theirs.header {
				w.Header()[name] = values
			}
			b := theirs.body
			if header != nil {
				header(w.Header())
			}
			if body != nil {
				b = body(b)
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			w.WriteHeader(status)
			if r.Method == http.MethodGet {
				_, _ = w.Write(b)
			}
			return true
		}
	}
	for name, tc := range map[string]act{
		"deleted":           give(http.StatusNotFound, func(hd http.Header) { clear(hd) }, func([]byte) []byte { return nil }),
		"facts of another":  give(http.StatusOK, func(hd http.Header) { hd.Set(sealed, otherNote.header.Get(sealed)) }, nil),
		"table of another":  give(http.StatusOK, nil, func([]byte) []byte { return otherNote.body }),
		"another whole":     give(http.StatusOK, func(hd http.Header) { hd.Set(sealed, otherNote.header.Get(sealed)) }, func([]byte) []byte { return otherNote.body }),
		"table withheld":    give(http.StatusOK, nil, func([]byte) []byte { return nil }),
		"table cut":         give(http.StatusOK, nil, func(b []byte) []byte { return b[:len(b)-1] }),
		"table flipped":     give(http.StatusOK, nil, func(b []byte) []byte { return flipAt(b, len(b)-20) }),
		"table is the note": give(http.StatusOK, nil, func([]byte) []byte { return []byte(otherNote.header.Get(sealed)) }),
		"facts flipped":     give(http.StatusOK, func(hd http.Header) { hd.Set(sealed, flipRecord(hd.Get(sealed), -3)) }, nil),
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			h.up.honest()
			data := partData(400_001, 61)
			u := h.root.createUpload(t, bucket, key, nil)
			u.put(t, 1, data)
			o := stored{name: name, bucket: bucket, key: key, data: data, etag: u.complete(t), authentic: true}
			h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.Contains("GET HEAD", r.Method) && strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/late/"+bucket+"/"+key+"\x01") && tc(w, r)
			})
			if a := h.readOnce(t, o, http.MethodGet, 0, len(data), ""); a.complete() || a.status == http.StatusNotFound {
				t.Errorf("whole: %d %s", a.status, a.code)
			}
			if a := h.readOnce(t, o, http.MethodGet, 5, 70_000, "bytes=5-69999"); a.complete() || a.status == http.StatusNotFound {
				t.Errorf("range: %d %s", a.status, a.code)
			}
			if a := h.partOf(t, o, 1, data); a.complete() {
				t.Error("the part is read")
			}
			h.readOnce(t, o, http.MethodHead, 0, len(data), "")
			h.up.honest()
			h.readEveryWay(t, o)
		})
	}
}

// An object whose layout is known is asked for by it; an answer with another record
// is another object, and is asked for once more, not for ever.
func TestHostileUpstreamChangesTheRecordOfAKnownLayout(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	parts := [][]byte{partData(minPart+5, 60), partData(packageSize+9, 62)}
	var records []string
	var o stored
	for range 2 {
		u := h.root.createUpload(t, bucket, "k", nil)
		for i, data := range parts {
			u.put(t, i+1, data)
		}
		o = stored{name: "k", bucket: bucket, key: "k", data: bytes.Join(parts, nil), etag: u.complete(t), authentic: true}
		_, record := recordOf(t, h.stack.raw().head(t, bucket, "k", nil).header)
		records = append(records, record)
	}
	at := len(parts[0])
	read := func() answer {
		return h.readOnce(t, o, http.MethodGet, at-1, at+1, fmt.Sprintf("bytes=%d-%d", at-1, at))
	}
	for name, change := range map[string]func(http.Header){
		"older":    func(hd http.Header) { hd.Set("X-Amz-Meta-Bucketseal", records[0]) },
		"stripped": func(hd http.Header) { hd.Del("X-Amz-Meta-Bucketseal") },
		"flipped":  func(hd http.Header) { hd.Set("X-Amz-Meta-Bucketseal", flipRecord(records[1], -90)) },
		"range":    func(hd http.Header) { hd.Set("Content-Range", "bytes 0-65567/9999999") },
	} {
		h.up.honest()
		if a := read(); !a.complete() {
			t.Fatalf("honest: %d %s", a.status, a.code)
		}
		mark := h.up.mark()
		h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
			if isGet(r, bucket, "k") {
				change(resp.Header)
			}
		}})
		if a := read(); a.complete() {
			t.Errorf("%s: a complete answer", name)
		}
		if requests := h.up.since(mark, "/"+bucket); len(requests) > 3 {
			t.Errorf("%s: %v", name, requests)
		}
	}
}
