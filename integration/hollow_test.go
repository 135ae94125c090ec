package integration

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// hollow plays MinIO for one upload in parts and the object it becomes, and keeps
// of each part what a read around its borders needs: so ten thousand parts fit into
// memory. Whoever asks for something in between gets an error.
type hollow struct {
	bucket, key string

	mu     sync.Mutex
	record string
	parts  map[int]*hollowPart
	etag   string // of the finished object
	order  []*hollowPart
	size   int64
}

type hollowPart struct {
	number     int
	etag       string
	size, at   int64
	head, tail []byte
}

// keepOfPart is how much of each end of a part is kept, in bytes.
const keepOfPart = sealedPackage

func (o *hollow) act(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/"+o.bucket+"/"+o.key {
		return false
	}
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		o.mu.Lock()
		o.record = q.Get("X-Amz-Meta-Bucketseal")
		o.mu.Unlock()
		return false // MinIO gives the id
	case asksOnly(r):
		return false // MinIO has no such upload
	case r.Method == http.MethodPut:
		return o.put(w, r, q.Get("partNumber"))
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return o.list(w, q.Get("part-number-marker"))
	case r.Method == http.MethodPost:
		return o.complete(w)
	default:
		return o.read(w, r)
	}
}

func (o *hollow) put(w http.ResponseWriter, r *http.Request, number string) bool {
	n, _ := strconv.Atoi(number)
	p := &hollowPart{number: n, size: r.ContentLength, head: make([]byte, min(keepOfPart, r.ContentLength))}
	if _, err := io.ReadFull(r.Body, p.head); err != nil {
		return false
	}
	// The tail is what remains when whole packages are gone.
	rest := p.size - int64(len(p.head))
	if skip := max(rest-keepOfPart, 0); skip > 0 {
		if _, err := io.CopyN(io.Discard, r.Body, skip); err != nil {
			return false
		}
		rest -= skip
	}
	p.tail = make([]byte, rest)
	if _, err := io.ReadFull(r.Body, p.tail); err != nil {
		return false
	}
	var etag [16]byte // unlike any other: the stream's nonce
	copy(etag[:], p.head[4:16])
	binary.BigEndian.PutUint32(etag[12:], uint32(n))
	p.etag = hex.EncodeToString(etag[:])
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.parts == nil {
		o.parts = map[int]*hollowPart{}
	}
	o.parts[n] = p
	w.Header().Set("Etag", `"`+p.etag+`"`)
	w.WriteHeader(http.StatusOK)
	return true
}

func (o *hollow) sorted() []*hollowPart {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]*hollowPart, 0, len(o.parts))
	for _, p := range o.parts {
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].number < list[j].number })
	return list
}

func (o *hollow) list(w http.ResponseWriter, marker string) bool {
	after, _ := strconv.Atoi(marker)
	var page []string
	more := false
	for _, p := range o.sorted() {
		if p.number <= after {
			continue
		}
		if more = len(page) == 1000; more {
			break
		}
		page = append(page, fmt.Sprint(p.number, " ", p.etag))
	}
	return answerXML(w, http.StatusOK, hostileList(more, page...))
}

func (o *hollow) complete(w http.ResponseWriter) bool {
	list := o.sorted()
	all := make([]string, len(list))
	at := int64(0)
	for i, p := range list {
		p.at, all[i] = at, p.etag
		at += p.size
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order, o.size, o.etag = list, at, mustCombine(all)
	return answerXML(w, http.StatusOK, "<CompleteMultipartUploadResult><ETag>"+o.etag+"</ETag></CompleteMultipartUploadResult>")
}

func (o *hollow) read(w http.ResponseWriter, r *http.Request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.etag == "" {
		return answerXML(w, http.StatusNotFound, "<Error><Code>NoSuchKey</Code></Error>")
	}
	h := w.Header()
	h.Set("Etag", `"`+o.etag+`"`)
	h.Set("X-Amz-Meta-Bucketseal", o.record)
	h.Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	from, to := int64(0), o.size
	status := http.StatusOK
	if rng := r.Header.Get("Range"); rng != "" {
		a, b := rawRange(rng, int(o.size))
		from, to, status = int64(a), int64(b), http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, o.size))
	}
	h.Set("Content-Length", strconv.FormatInt(to-from, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return true
	}
	i := sort.Search(len(o.order), func(i int) bool { return o.order[i].at+o.order[i].size > from })
	for ; i < len(o.order) && from < to; i++ {
		n, ok := o.order[i].write(w, from-o.order[i].at, min(to-o.order[i].at, o.order[i].size))
		if from += n; !ok {
			panic(http.ErrAbortHandler)
		}
	}
	return true
}

// write writes the part's bytes from..to, if they are kept.
func (p *hollowPart) write(w io.Writer, from, to int64) (int64, bool) {
	tailAt := p.size - int64(len(p.tail))
	for at := from; at < to; {
		var piece []byte
		switch {
		case at < int64(len(p.head)):
			piece = p.head[at:min(to, int64(len(p.head)))]
		case at >= tailAt:
			piece = p.tail[at-tailAt : to-tailAt]
		default:
			return at - from, false
		}
		if _, err := w.Write(piece); err != nil {
			return at - from, false
		}
		at += int64(len(piece))
	}
	return to - from, true
}

func mustCombine(etags []string) string {
	etag, err := combineETags(etags...)
	if err != nil {
		panic(err)
	}
	return strings.Trim(etag, `"`)
}
