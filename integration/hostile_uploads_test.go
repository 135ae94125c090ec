package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answerXML answers a request with a document.
func answerXML(w http.ResponseWriter, status int, doc string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, doc)
	return true
}

// isLedger says whether a request concerns the ledger: its uploads or its parts.
func isLedger(r *http.Request, root string) bool {
	return strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/"+root) || r.Method == http.MethodGet && strings.HasPrefix(r.URL.Query().Get("prefix"), root)
}

// hostileList is a part list that a hostile MinIO gives.
func hostileList(more bool, parts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<ListPartsResult><IsTruncated>%v</IsTruncated>", more)
	for _, p := range parts {
		number, etag, _ := strings.Cut(p, " ")
		fmt.Fprintf(&b, "<Part><PartNumber>%s</PartNumber><ETag>&#34;%s&#34;</ETag><Size>1</Size></Part>", number, etag)
	}
	return b.String() + "</ListPartsResult>"
}

// What upstream says of its parts decides nothing by itself: Complete fails, or
// puts together what the client named.
func TestHostileUpstreamListsOtherParts(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	const zeros = "00000000000000000000000000000000"
	for _, m := range sseModes()[:2] {
		for name, list := range map[string]func(older, current string) string{
			"none":            func(string, string) string { return hostileList(false) },
			"an older upload": func(older, _ string) string { return hostileList(false, "1 "+older) },
			"another ETag":    func(string, string) string { return hostileList(false, "1 "+zeros) },
			"no ETag":         func(string, string) string { return hostileList(false, "1 ") },
			"another number":  func(_, current string) string { return hostileList(false, "2 "+current) },
			"number 0":        func(_, current string) string { return hostileList(true, "0 "+current) },
			"number 10001":    func(_, current string) string { return hostileList(false, "10001 "+current) },
			"backwards":       func(_, current string) string { return hostileList(false, "2 "+current, "1 "+current) },
			"without end":     func(_, current string) string { return hostileList(true, "1 "+current) },
			"a path":          func(string, string) string { return hostileList(false, "1 ../../x") },
			"no XML":          func(string, string) string { return "{}" },
		} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				key := strings.ReplaceAll(m.name+name, " ", "-")
				u := h.root.createUpload(t, bucket, key, m.put)
				var etags []string
				h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
					if r.URL.Query().Has("partNumber") && r.URL.Path == "/"+bucket+"/"+key {
						etags = append(etags, strings.Trim(resp.Header.Get("Etag"), `"`))
					}
				}})
				u.put(t, 1, partData(5000, 60))
				data := partData(5000, 61)
				u.put(t, 1, data)
				h.up.order(onObject(bucket, key, "GET", func(w http.ResponseWriter, r *http.Request) bool {
					return r.URL.Query().Has("uploadId") && answerXML(w, http.StatusOK, list(etags[0], etags[1]))
				}))
				r := u.completeRequest()
				r.limit = hostileLimit
				if a, err := h.root.try(r); err != nil || a.code != "InvalidPart" && a.status < 500 {
					t.Errorf("Complete: %d %s, %v", a.status, a.code, err)
				}
				h.up.honest()
				wantObject(t, h.root, bucket, key, u.complete(t), nil, data)
			})
		}
	}
}

// MinIO gives one ETag to two uploads of one part, and then shows the ledger's
// note of the first as if the second had never been written.
func TestHostileUpstreamGivesTwoUploadsOfAPartOneETag(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	first, second := partData(5000, 60), partData(5000, 61)
	for _, m := range sseModes()[:2] {
		for _, pretends := range []bool{false, true} {
			key := strings.ReplaceAll(fmt.Sprint(m.name, pretends), " ", "-")
			etag := ""
			h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if !r.URL.Query().Has("partNumber") || r.URL.Path != "/"+bucket+"/"+key {
					return
				}
				if etag == "" {
					etag = resp.Header.Get("Etag")
				}
				resp.Header.Set("Etag", etag)
			}})
			u := h.root.createUpload(t, bucket, key, m.put)
			u.put(t, 1, first)
			if pretends {
				h.up.order(func(w http.ResponseWriter, r *http.Request) bool { // accepted, and forgotten
					if r.Method != http.MethodPut || !isLedger(r, "parts/") {
						return false
					}
					w.Header().Set("Etag", `"`+strings.Repeat("0", 32)+`"`)
					w.WriteHeader(http.StatusOK)
					return true
				})
			}
			a := h.root.do(t, u.partRequest(1, second))
			if !pretends {
				if a.status < 500 {
					t.Errorf("%s: the part is acknowledged: %d", m.name, a.status)
				}
				h.up.honest()
				continue
			}
			u.etags[1] = a.wantStatus(t, http.StatusOK).header.Get("Etag")
			done := "<CompleteMultipartUploadResult><ETag>" + strings.Trim(combinedETag(t, etag), `"`) + "</ETag></CompleteMultipartUploadResult>"
			h.up.order(onObject(bucket, key, "GET POST", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					return answerXML(w, http.StatusOK, done)
				}
				return r.URL.Query().Has("uploadId") && answerXML(w, http.StatusOK, hostileList(false, "1 "+strings.Trim(etag, `"`)))
			}))
			h.root.do(t, u.completeRequest()).wantError(t, http.StatusBadRequest, "InvalidPart", "")
			h.up.honest()
			h.root.get(t, bucket, key, nil).wantStatus(t, http.StatusNotFound)
		}
	}
}

// Notes of parts are withheld, exchanged and replaced.
func TestHostileUpstreamAttacksTheLedger(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	sealed := regexp.MustCompile(`(?i)<X-Amz-Meta-Sealed>([^<]*)</X-Amz-Meta-Sealed>`)
	emptied := func(resp *http.Response) {
		alterBody(resp, func(b []byte) []byte { return regexp.MustCompile(`(?s)<Contents>.*</Contents>`).ReplaceAll(b, nil) })
	}
	exchanged := func(resp *http.Response) {
		alterBody(resp, func(b []byte) []byte {
			found := sealed.FindAllSubmatch(b, -1)
			if len(found) != 2 {
				return b
			}
			n := -1
			return sealed.ReplaceAllFunc(b, func([]byte) []byte { n++; return found[1-n][0] })
		})
	}
	for name, alter := range map[string]func(*http.Response){
		"withheld":  emptied,
		"exchanged": exchanged,
		"flipped": func(resp *http.Response) {
			alterBody(resp, func(b []byte) []byte {
				return sealed.ReplaceAllFunc(b, func(s []byte) []byte { return flipAt(s, len(s)-30) })
			})
		},
		"empty": func(resp *http.Response) {
			alterBody(resp, func(b []byte) []byte { return sealed.ReplaceAll(b, []byte("<X-Amz-Meta-Sealed></X-Amz-Meta-Sealed>")) })
		},
		"without end": func(resp *http.Response) {
			alterBody(resp, func(b []byte) []byte {
				return bytes.Replace(b, []byte("<IsTruncated>false"), []byte("<IsTruncated>true"), 1)
			})
		},
		"failing": func(resp *http.Response) { resp.StatusCode = http.StatusInternalServerError },
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			u := h.root.createUpload(t, bucket, key, sseModes()[1].put)
			parts := [][]byte{partData(minPart, 60), partData(5000, 61)}
			for i, data := range parts {
				u.put(t, i+1, data)
			}
			h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if r.Method == http.MethodGet && isLedger(r, "parts/") && resp.StatusCode == http.StatusOK {
					alter(resp)
				}
			}})
			began := time.Now()
			if a, err := h.root.try(u.completeRequest()); name != "without end" && (err != nil || a.code != "InvalidPart" && a.status < 500) {
				t.Errorf("Complete: %d %s, %v", a.status, a.code, err)
			}
			a, err := h.root.try(u.request(http.MethodGet))
			if err != nil || a.status == http.StatusOK && name != "without end" && bytes.Contains(a.body, []byte("<PartNumber>1<")) {
				t.Errorf("ListParts: %d %s, %v: %s", a.status, a.code, err, a.body)
			}
			if took := time.Since(began); took > hostileLimit {
				t.Errorf("took %v", took)
			}
			h.up.honest()
			wantObject(t, h.root, bucket, key, u.complete(t), nil, parts...)
		})
	}
}

// The note of an upload is withheld, or another upload's is given in its place:
// nothing is written under another's keys.
func TestHostileUpstreamAttacksNotesOfUploads(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	noteOf := func(key string) string {
		l := h.stack.raw().list(t, systemBucket, "list-type", "2", "prefix", "uploads/"+bucket+"/"+key+"\x01", "encoding-type", "url")
		if len(l.Contents) != 1 {
			t.Fatalf("notes of %s: %v", key, l.Contents)
		}
		return strings.ReplaceAll(l.Contents[0].Key, "%01", "\x01")
	}
	give := func(w http.ResponseWriter, name string) bool {
		theirs := h.stack.raw().head(t, systemBucket, name, nil)
		for n, values := range theirs.header {
			w.Header()[n] = values
		}
		w.WriteHeader(theirs.status)
		return true
	}
	h.root.createUpload(t, bucket, "other", sseModes()[1].put)
	other := noteOf("other")
	for name, lies := range map[string]act{
		"withheld":          func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true },
		"of another object": func(w http.ResponseWriter, _ *http.Request) bool { return give(w, other) },
		"empty":             func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusOK); return true },
		"of an older upload": func(w http.ResponseWriter, _ *http.Request) bool {
			return give(w, noteOf("older"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			if name == "of an older upload" {
				key = "older"
				h.root.createUpload(t, bucket, key, nil)
			}
			older := ""
			if key == "older" {
				older = noteOf(key)
			}
			u := h.root.createUpload(t, bucket, key, nil)
			h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/uploads/"+bucket+"/"+key+"\x01") {
					return false
				}
				if older != "" {
					return give(w, older)
				}
				return lies(w, r)
			})
			tries := []request{u.partRequest(1, partData(5000, 60)), u.request(http.MethodGet), u.request(http.MethodPost), u.request(http.MethodDelete)}
			if name == "withheld" { // an abort is carried out by upstream then
				tries = tries[:3]
			}
			for _, r := range tries {
				if r.method == http.MethodPost {
					r.body = []byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + strings.Repeat("0", 32) + "</ETag></Part></CompleteMultipartUpload>")
				}
				if a := h.root.do(t, r); a.code != "NoSuchUpload" && a.status < 500 {
					t.Errorf("%s: %d %s", r.method, a.status, a.code)
				}
			}
			h.up.honest()
			u.put(t, 1, partData(5000, 60))
			wantObject(t, h.root, bucket, key, u.complete(t), nil, partData(5000, 60))
		})
	}
}

// MinIO answers to parts, Create and Complete with what is not true.
func TestHostileUpstreamAcknowledgesFalsely(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	for i, etag := range []string{"", `""`, `"../../x"`, `"` + strings.Repeat("a", 300) + `"`, `"0123"`, "\"\x01\"", `"zz345678901234567890123456789012"`} {
		u := h.root.createUpload(t, bucket, fmt.Sprint("etag", i), nil)
		h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
			if r.URL.Query().Has("partNumber") {
				resp.Header.Set("Etag", etag)
			}
		}})
		if a, err := h.root.try(u.partRequest(1, partData(5000, 60))); err != nil || a.status < 500 {
			t.Errorf("ETag %q of a part: %d, %v", etag, a.status, err)
		}
		h.up.honest()
	}
	// An upload id that another upload has: neither takes the other's keys.
	first := h.root.createUpload(t, bucket, "ids", sseModes()[1].put)
	id, _, _ := strings.Cut(first.id, ".")
	if i := strings.LastIndexByte(first.id, '.'); i > 0 {
		id = first.id[:i]
	}
	h.up.order(onObject(bucket, "ids", "POST", func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Query().Has("uploads") && answerXML(w, http.StatusOK, "<InitiateMultipartUploadResult><UploadId>"+id+"</UploadId></InitiateMultipartUploadResult>")
	}))
	if a := h.root.do(t, request{method: http.MethodPost, bucket: bucket, key: "ids", query: "uploads="}); a.status < 400 {
		t.Errorf("Create with an id that exists: %d", a.status)
	}
	h.up.honest()
	first.put(t, 1, partData(5000, 60))
	wantObject(t, h.root, bucket, "ids", first.complete(t), nil, partData(5000, 60))
}

// MinIO says yes to Complete and stores something else: an object that is there
// afterwards is read whole and right, or not at all.
func TestHostileUpstreamCompletesOtherwise(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	parts := [][]byte{partData(minPart, 60), partData(minPart, 61), partData(5000, 62)}
	part := regexp.MustCompile(`<Part>.*?</Part>`)
	without := func(n int) func([]byte) []byte {
		return func(b []byte) []byte {
			i := 0
			return part.ReplaceAllFunc(b, func(p []byte) []byte {
				if i++; i == n {
					return nil
				}
				return p
			})
		}
	}
	for _, m := range sseModes()[:2] {
		for name, change := range map[string]func([]byte) []byte{"without the last part": without(3), "without the first part": without(1), "with another ETag": nil} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				key := strings.ReplaceAll(m.name+name, " ", "-")
				u := h.root.createUpload(t, bucket, key, m.put)
				for i, data := range parts {
					u.put(t, i+1, data)
				}
				tag := regexp.MustCompile(`[0-9a-f]{32}-[0-9]`)
				expected := expectedUpstreamETag(t, h, u)
				h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
					switch {
					case r.URL.Path != "/"+bucket+"/"+key:
					case r.Method == http.MethodPost && change == nil:
						alterBody(resp, func(b []byte) []byte { return tag.ReplaceAll(b, []byte(strings.Repeat("0", 32)+"-3")) })
					case r.Method == http.MethodPost:
						alterBody(resp, func(b []byte) []byte { return tag.ReplaceAll(b, []byte(expected)) })
					case change != nil && resp.Header.Get("Etag") != "": // the lie goes on
						resp.Header.Set("Etag", `"`+expected+`"`)
					}
				}})
				h.up.order(onObject(bucket, key, "POST", func(_ http.ResponseWriter, r *http.Request) bool {
					if change != nil {
						body, _ := io.ReadAll(r.Body)
						body = change(body)
						r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
						r.Header.Set("Content-Length", strconv.Itoa(len(body)))
						r.Header.Del("Content-Md5")
					}
					return false
				}))
				a := h.root.do(t, u.completeRequest())
				if change == nil && a.status < 500 {
					t.Errorf("Complete: %d", a.status)
				}
				o := stored{name: name, bucket: bucket, key: key, data: bytes.Join(parts, nil), etag: multipartETag(parts...), authentic: m.md5}
				h.up.order(nil)
				if change == nil {
					h.up.honest()
				}
				for _, r := range [][2]int{{0, len(o.data)}, {minPart - 1, minPart + 1}, {2*minPart - 1, len(o.data)}} {
					rng := fmt.Sprintf("bytes=%d-%d", r[0], r[1]-1)
					if r[1]-r[0] == len(o.data) {
						rng = ""
					}
					if a := h.readOnce(t, o, http.MethodGet, r[0], r[1], rng); change != nil && rng == "" && a.complete() {
						t.Error("the object is read")
					}
				}
			})
		}
	}
}

// expectedUpstreamETag is what MinIO will give the object of all parts.
func expectedUpstreamETag(t *testing.T, h *hostile, u *mp) string {
	t.Helper()
	i := strings.LastIndexByte(u.id, '.')
	raw := &mp{c: h.stack.raw(), bucket: u.bucket, key: u.key, id: u.id[:i]}
	listed, _, _ := raw.parts(t)
	etags := make([]string, len(listed))
	for i, p := range listed {
		etags[i] = strings.Trim(p.ETag, `"`)
	}
	return strings.Trim(combinedETag(t, etags...), `"`)
}
