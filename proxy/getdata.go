package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// serveData answers with the part of the object that was asked for.
func (d *download) serveData(w http.ResponseWriter, resp *http.Response, o *object, part answerPart) error {
	ctx := d.request.Context()
	if d.head && d.part == 0 && o.record.Layout != sse.OneStream {
		part.setHeaders(w.Header(), o.size) // the size is in the manifest; the table of parts is not needed
		w.WriteHeader(part.status)
		return nil
	}
	parts, err := d.server.layout(ctx, o)
	if err != nil {
		return err
	}
	if o.record.Layout != sse.OneStream {
		d.server.layouts.remember(d.objectVersion(), layoutHint{manifestRef(o.name, o.record, o.stored), o.stored})
	}
	if d.part > 0 {
		if part, err = d.planPart(w.Header(), o, parts); err != nil {
			return err
		}
	}
	if d.head {
		if err := checkLength(resp, parts.EncSize()); err != nil {
			return err
		}
		part.setHeaders(w.Header(), o.size)
		w.WriteHeader(part.status)
		return nil
	}
	src, done, err := d.source(ctx, resp, o, parts, part.Range)
	if err != nil {
		return err
	}
	defer done()
	plain, err := parts.Decrypt(&o.key, src, part.Range)
	if err != nil {
		return err
	}
	return d.send(w, plain, part, o.size)
}

// answerPart is what of the plaintext is answered, and how.
type answerPart struct {
	sse.Range
	partial bool
	status  int
}

// plan turns the request's range into the bytes to answer with.
func (d *download) plan(o *object) (answerPart, error) {
	if d.rng == nil {
		return answerPart{Range: sse.Range{Length: o.size}, status: http.StatusOK}, nil
	}
	r, err := d.rng.of(o.size)
	return answerPart{Range: r, partial: true, status: http.StatusPartialContent}, err
}

// planPart turns the request's part number into the bytes to answer with. An
// object that was not uploaded in parts has one.
func (d *download) planPart(h http.Header, o *object, parts *sse.Parts) (answerPart, error) {
	answer := answerPart{partial: o.size > 0, status: http.StatusPartialContent}
	if o.record.Layout != sse.Uploaded {
		if d.part != 1 {
			return answerPart{}, errPartNumber
		}
		answer.Range = sse.Range{Length: o.size}
		return answer, nil
	}
	for i, part := range parts.List() {
		if int(part.Number) == d.part {
			answer.Range = parts.Range(i)
			answer.partial = answer.Length > 0 // no Content-Range names no bytes
			if part.Checksum != nil && wantsChecksum(d.request.Header) {
				h.Set(checksumOf(parts.Checksum()).header, base64Std(part.Checksum))
			}
			h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(parts.List())))
			return answer, nil
		}
	}
	return answerPart{}, errPartNumber
}

func (p answerPart) setHeaders(h http.Header, size int64) {
	h.Set("Content-Length", strconv.FormatInt(p.Length, 10))
	if p.partial {
		h.Set("Content-Range", contentRange(p.Range, size))
	}
}

// source returns exactly the encrypted bytes of the packages that hold part,
// once upstream's answer is known to be what record and manifest say. done is
// called when they have been read.
func (d *download) source(ctx context.Context, resp *http.Response, o *object, parts *sse.Parts, part sse.Range) (src io.Reader, done func(), err error) {
	encSize := parts.EncSize()
	got, ranged := d.answered(encSize)
	if err := checkAnswer(resp, got, encSize, ranged); err != nil {
		return nil, nil, err
	}
	need := parts.Encrypted(part)
	if need.Length == 0 {
		return resp.Body, func() {}, nil
	}
	whole := !ranged && resp.Request.Method == http.MethodGet && (need.Offset == 0 || need.Length*2 >= encSize)
	if ranged && need.Offset >= got.Offset && need.Offset+need.Length <= got.Offset+got.Length || whole {
		if _, err := io.CopyN(io.Discard, resp.Body, need.Offset-got.Offset); err != nil {
			return nil, nil, fmt.Errorf("skip to the first package: %w (%w)", storage.ErrUnreachable, err)
		}
		return io.LimitReader(resp.Body, need.Length), func() {}, nil
	}
	again, err := d.fetchExact(ctx, resp, o, need, encSize) //nolint:bodyclose // done closes it
	if err != nil {
		return nil, nil, err
	}
	return again.Body, func() { upstream.Discard(again) }, nil
}

// fetchExact asks for the encrypted bytes that are needed, of the object that was
// just seen: parts of odd sizes lie elsewhere than one stream would, and a part
// number says nothing of where it lies.
func (d *download) fetchExact(ctx context.Context, seen *http.Response, o *object, need sse.Range, encSize int64) (*http.Response, error) {
	resp, err := d.requestRange(ctx, o.stored, need)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		return nil, readChanged(resp)
	}
	err = checkAnswer(resp, need, encSize, true)
	if err == nil && resp.Header.Get(recordHeader) != seen.Header.Get(recordHeader) {
		err = errChanged // a copy onto itself: another record, the same ETag
	}
	if err != nil {
		upstream.Discard(resp)
		return nil, err
	}
	return resp, nil
}

// checkAnswer refuses an answer that is not the bytes want of encSize.
func checkAnswer(resp *http.Response, want sse.Range, encSize int64, partial bool) error {
	if !partial {
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d without a range: %w", resp.StatusCode, errUpstreamLied)
		}
		return checkLength(resp, encSize)
	}
	header := resp.Header.Get("Content-Range")
	r, size, ok := parseContentRange(header)
	if !ok || size != encSize || r != want || resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("Content-Range %q for %d encrypted bytes: %w", header, encSize, errUpstreamLied)
	}
	return checkLength(resp, want.Length)
}

// encrypted is what upstream answers to the header of b.upstream, for an object
// of encSize encrypted bytes.
func (b *byteRange) encrypted(encSize int64) sse.Range {
	first, last, _ := strings.Cut(strings.TrimPrefix(b.upstream(), "bytes="), "-")
	from, _ := strconv.ParseInt(first, 10, 64)
	to, err := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "":
		n := min(to, encSize)
		return sse.Range{Offset: encSize - n, Length: n}
	case err != nil: // open
		return sse.Range{Offset: from, Length: max(encSize-from, 0)}
	default:
		return sse.Range{Offset: from, Length: to - from + 1}.Clip(encSize)
	}
}

// checkLength refuses an answer whose length does not follow from the record.
func checkLength(resp *http.Response, want int64) error {
	if resp.ContentLength != want {
		return fmt.Errorf("upstream answered %d bytes where the record says %d: %w", resp.ContentLength, want, errUpstreamLied)
	}
	return nil
}

// send answers with body. Its first bytes are there, and authenticated, before
// the answer begins; a failure after that cuts the connection.
func (d *download) send(w http.ResponseWriter, body io.Reader, part answerPart, size int64) error {
	buffers := d.server.buffers
	buffer := buffers.copies.Get().(*[copyBufferSize]byte)
	used := min(part.Length, copyBufferSize)
	defer func() {
		clear(buffer[:used]) // plaintext
		buffers.copies.Put(buffer)
	}()
	n, err := io.ReadAtLeast(body, buffer[:], int(used))
	if err != nil && (err != io.EOF || part.Length > 0) {
		return readError(err)
	}
	part.setHeaders(w.Header(), size)
	w.WriteHeader(part.status)
	if n == 0 {
		return nil
	}
	if err := buffers.copy(w, body, buffer[:], n); err != nil {
		return readError(err)
	}
	return nil
}

// readError keeps a cut upstream connection apart from a damaged object.
func readError(err error) error {
	if errors.Is(err, errClientGone) {
		return err
	}
	if errors.Is(err, sse.ErrTruncated) || errors.Is(err, sse.ErrTampered) {
		return fmt.Errorf("read object: %w", err)
	}
	return fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
}
