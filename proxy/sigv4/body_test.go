package sigv4

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

const text = "The quick brown fox jumps over the lazy dog"

func base64MD5(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func crcTrailer(data string) []string {
	return []string{"x-amz-checksum-crc32:" + base64Sum(checksum.CRC32, data)}
}

func announced() map[string]string {
	return map[string]string{"x-amz-trailer": "x-amz-checksum-crc32"}
}

func with(more ...string) map[string]string {
	h := announced()
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

func replace(from, to string) func(string) string {
	return func(s string) string { return strings.Replace(s, from, to, 1) }
}

func TestBodiesAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]upload{
		"unsigned":               {},
		"unsigned, no length":    {declared: -1},
		"hashed":                 {payload: sha256Hex(text)},
		"hashed in upper case":   {payload: strings.ToUpper(sha256Hex(text))},
		"all digests":            {payload: sha256Hex(text), header: map[string]string{"content-md5": base64MD5(text), "x-amz-checksum-sha256": base64Sum(checksum.SHA256, text)}},
		"algorithm named":        {header: map[string]string{"x-amz-checksum-algorithm": "CRC32", "x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}},
		"signed chunks":          {payload: streamingSigned},
		"one chunk":              {payload: streamingSigned, chunk: 1000},
		"chunks of a byte":       {payload: streamingSigned, chunk: 1},
		"signed trailer":         {payload: streamingSignedTrailer, header: announced(), trailer: crcTrailer(text)},
		"signed, no trailer":     {payload: streamingSignedTrailer},
		"unsigned trailer":       {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text)},
		"unsigned, no trailer":   {payload: streamingUnsignedTrailer},
		"trailer ends in LF":     {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text), lineEnd: "\n"},
		"trailer as minio-go":    {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text), lineEnd: "\n\r\n"},
		"signed as minio-go":     {payload: streamingSignedTrailer, header: announced(), trailer: crcTrailer(text), lineEnd: "\n\r\n"},
		"trailer spaced, capped": {payload: streamingUnsignedTrailer, header: announced(), trailer: []string{"X-Amz-Checksum-Crc32:  " + base64Sum(checksum.CRC32, text) + " "}},
		"upper-case size":        {payload: streamingUnsignedTrailer, chunk: 43, edit: replace("2b\r\n", "002B\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u.data = text
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"plain": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader,
				"halves": iotest.HalfReader, "EOF beside data": iotest.DataErrReader,
			} {
				r := u.request()
				r.Body = io.NopCloser(wrap(r.Body))
				data, b, err := readAll(t, r, BodyOptions{ComputeMD5: true, Compute: []checksum.Algorithm{checksum.CRC64NVME}})
				if err != nil || data != text {
					t.Fatalf("%s: %q, %v", how, data, err)
				}
				sum, ok := b.MD5()
				if !ok || base64.StdEncoding.EncodeToString(sum[:]) != base64MD5(text) {
					t.Errorf("%s: MD5 %x, %v", how, sum, ok)
				}
				if got := base64.StdEncoding.EncodeToString(b.Checksums()[checksum.CRC64NVME]); got != base64Sum(checksum.CRC64NVME, text) {
					t.Errorf("%s: CRC64NVME %s", how, got)
				}
				if n, err := b.Read(make([]byte, 10)); n != 0 || err != io.EOF || b.Err() != io.EOF {
					t.Errorf("%s: after the end: %d, %v", how, n, err)
				}
			}
		})
	}
}

func TestBadBodiesNeverEnd(t *testing.T) {
	t.Parallel()
	const u, st = streamingUnsignedTrailer, streamingSignedTrailer
	for name, c := range map[string]struct {
		upload
		want error
	}{
		"hash mismatch":          {upload{payload: sha256Hex("other")}, ErrContentSHA256Mismatch},
		"body without its hash":  {upload{payload: emptySHA256}, ErrContentSHA256Mismatch},
		"MD5 mismatch":           {upload{header: map[string]string{"content-md5": base64MD5("other")}}, ErrBadDigest},
		"MD5 before hash":        {upload{payload: emptySHA256, header: map[string]string{"content-md5": base64MD5("other")}}, ErrBadDigest},
		"MD5 mismatch, chunks":   {upload{payload: streamingSigned, header: map[string]string{"content-md5": base64MD5("other")}}, ErrBadDigest},
		"checksum mismatch":      {upload{header: map[string]string{"x-amz-checksum-crc32": base64Sum(checksum.CRC32, "other")}}, ErrChecksumMismatch},
		"short":                  {upload{declared: 50}, ErrIncompleteBody},
		"long":                   {upload{declared: 10}, ErrExcessData},
		"chunk signature":        {upload{payload: streamingSigned, wrongSig: "chunk"}, ErrSignatureDoesNotMatch},
		"last signature":         {upload{payload: streamingSigned, wrongSig: "last"}, ErrSignatureDoesNotMatch},
		"chunk changed":          {upload{payload: streamingSigned, edit: replace("quic", "Quic")}, ErrSignatureDoesNotMatch},
		"chunk dropped":          {upload{payload: streamingSigned, header: map[string]string{"x-amz-decoded-content-length": "35"}, edit: dropFirstChunk}, ErrSignatureDoesNotMatch},
		"decoded too small":      {upload{payload: streamingSigned, header: map[string]string{"x-amz-decoded-content-length": "42"}}, ErrExcessData},
		"decoded too big":        {upload{payload: streamingSigned, header: map[string]string{"x-amz-decoded-content-length": "44"}}, ErrIncompleteBody},
		"signature missing":      {upload{payload: streamingSigned, edit: replace(";chunk-signature=", ";")}, ErrMalformedChunk},
		"no extension":           {upload{payload: streamingSigned, edit: func(string) string { return "2b\r\n" + text + "\r\n0\r\n\r\n" }}, ErrMalformedChunk},
		"other extension":        {upload{payload: streamingSigned, edit: replace("chunk-signature", "chunk-signaturf")}, ErrMalformedChunk},
		"second extension":       {upload{payload: streamingSigned, edit: replace("\r\n", ";a=b\r\n")}, ErrMalformedChunk},
		"space in size":          {upload{payload: streamingSigned, edit: replace("8;", "8 ;")}, ErrMalformedChunk},
		"sign in size":           {upload{payload: u, edit: replace("8\r\n", "+8\r\n")}, ErrMalformedChunk},
		"size with 0x":           {upload{payload: u, edit: replace("8\r\n", "0x8\r\n")}, ErrMalformedChunk},
		"no size":                {upload{payload: u, edit: replace("8\r\n", "\r\n")}, ErrMalformedChunk},
		"size overflow":          {upload{payload: u, edit: replace("8\r\n", "8000000000000008\r\n")}, ErrMalformedChunk},
		"17 digits":              {upload{payload: u, edit: replace("8\r\n", "00000000000000008\r\n")}, ErrMalformedChunk},
		"huge size":              {upload{payload: u, edit: replace("8\r\n", "7fffffffffffffff\r\n")}, ErrExcessData},
		"header ends in LF":      {upload{payload: u, edit: replace("8\r\n", "8\n")}, ErrMalformedChunk},
		"header endless":         {upload{payload: u, edit: func(s string) string { return strings.Repeat("0", 5000) + s }}, ErrMalformedChunk},
		"extension, unsigned":    {upload{payload: u, edit: replace("8\r\n", "8;a=b\r\n")}, ErrMalformedChunk},
		"no line end after data": {upload{payload: u, edit: replace("The quic\r\n", "The quicxx")}, ErrMalformedChunk},
		"data longer than chunk": {upload{payload: u, edit: replace("The quic", "The quick")}, ErrMalformedChunk},
		"garbage":                {upload{payload: u, edit: func(string) string { return "zzzz\r\n" }}, ErrMalformedChunk},
		"bytes after the end":    {upload{payload: u, edit: func(s string) string { return s + "x" }}, ErrMalformedChunk},
		"second body":            {upload{payload: u, edit: func(s string) string { return s + s }}, ErrMalformedChunk},
		"much after the end":     {upload{payload: u, edit: func(s string) string { return s + strings.Repeat("x", 5000) }}, ErrMalformedChunk},
		"no terminator":          {upload{payload: u, edit: replace("0\r\n\r\n", "")}, ErrIncompleteBody},
		"no final line":          {upload{payload: u, edit: replace("0\r\n\r\n", "0\r\n")}, ErrIncompleteBody},
		"trailer mismatch":       {upload{payload: u, header: announced(), trailer: crcTrailer("other")}, ErrChecksumMismatch},
		"trailer no base64":      {upload{payload: u, header: announced(), trailer: []string{"x-amz-checksum-crc32:junk!"}}, ErrChecksumMismatch},
		"trailer of other size":  {upload{payload: u, header: announced(), trailer: []string{"x-amz-checksum-crc32:" + base64Sum(checksum.SHA1, text)}}, ErrChecksumMismatch},
		"trailer missing":        {upload{payload: u, header: announced()}, ErrMalformedChunk},
		"trailer unannounced":    {upload{payload: u, trailer: crcTrailer(text)}, ErrMalformedChunk},
		"trailer other name":     {upload{payload: u, header: announced(), trailer: []string{"x-amz-checksum-sha1:" + base64Sum(checksum.SHA1, text)}}, ErrMalformedChunk},
		"trailer twice":          {upload{payload: u, header: announced(), trailer: append(crcTrailer(text), crcTrailer(text)...)}, ErrMalformedChunk},
		"trailer without colon":  {upload{payload: u, header: announced(), trailer: []string{"x-amz-checksum-crc32"}}, ErrMalformedChunk},
		"trailer where none":     {upload{payload: streamingSigned, trailer: crcTrailer(text)}, ErrMalformedChunk},
		"signature, unsigned":    {upload{payload: u, header: announced(), trailer: append(crcTrailer(text), "x-amz-trailer-signature:"+emptySHA256)}, ErrMalformedChunk},
		"signed mismatch":        {upload{payload: st, header: announced(), trailer: crcTrailer("other")}, ErrChecksumMismatch},
		"trailer signature":      {upload{payload: st, header: announced(), trailer: crcTrailer(text), wrongSig: "trailer"}, ErrSignatureDoesNotMatch},
		"trailer changed":        {upload{payload: st, header: announced(), trailer: crcTrailer(text), edit: replace(base64Sum(checksum.CRC32, text), base64Sum(checksum.CRC32, "x"))}, ErrSignatureDoesNotMatch},
		"trailer unsigned":       {upload{payload: st, header: announced(), trailer: crcTrailer(text), edit: dropTrailerSignature}, ErrMalformedChunk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.data = text
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"plain": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader,
			} {
				r := c.upload.request()
				r.Body = io.NopCloser(wrap(r.Body))
				_, b, err := readAll(t, r, BodyOptions{ComputeMD5: true})
				if !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", how, err, c.want)
				}
				mustNotLookFinished(t, b, err)
			}
		})
	}
}

func dropFirstChunk(s string) string {
	_, rest, _ := strings.Cut(s, "The quic\r\n")
	return rest
}

func dropTrailerSignature(s string) string {
	at := strings.Index(s, signatureTrailer)
	return s[:at] + "\r\n"
}

func TestBodyIsRefusedBeforeReading(t *testing.T) {
	t.Parallel()
	h := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	const decoded = "x-amz-decoded-content-length"
	for name, c := range map[string]struct {
		upload
		want error
	}{
		"MD5 no base64":             {upload{header: h("content-md5", "junk!")}, ErrInvalidDigest},
		"MD5 short":                 {upload{header: h("content-md5", "AAAA")}, ErrInvalidDigest},
		"MD5 empty":                 {upload{header: h("content-md5", "")}, ErrInvalidDigest},
		"checksum no base64":        {upload{header: h("x-amz-checksum-crc32", "junk!")}, ErrInvalidChecksum},
		"checksum short":            {upload{header: h("x-amz-checksum-sha256", "AAAA")}, ErrInvalidChecksum},
		"checksum empty":            {upload{header: h("x-amz-checksum-crc32", "")}, ErrInvalidChecksum},
		"checksum unknown":          {upload{header: h("x-amz-checksum-foo", "AAAA")}, ErrInvalidChecksum},
		"two checksums":             {upload{header: h("x-amz-checksum-crc32", base64Sum(checksum.CRC32, text), "x-amz-checksum-sha1", base64Sum(checksum.SHA1, text))}, ErrInvalidChecksum},
		"checksum and trailer":      {upload{payload: streamingUnsignedTrailer, header: with("x-amz-checksum-sha1", base64Sum(checksum.SHA1, text))}, ErrInvalidChecksum},
		"two trailers":              {upload{payload: streamingUnsignedTrailer, header: h("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")}, ErrInvalidChecksum},
		"trailer unknown":           {upload{payload: streamingUnsignedTrailer, header: h("x-amz-trailer", "x-amz-checksum-foo")}, ErrInvalidChecksum},
		"trailer no checksum":       {upload{payload: streamingUnsignedTrailer, header: h("x-amz-trailer", "x-amz-meta-a")}, ErrInvalidChecksum},
		"trailer, plain body":       {upload{header: announced()}, ErrInvalidChecksum},
		"trailer, plain chunks":     {upload{payload: streamingSigned, header: announced()}, ErrInvalidChecksum},
		"no length":                 {upload{declared: -1}, ErrMissingContentLength},
		"chunked, no length at all": {upload{payload: streamingSigned, declared: -1, header: h(decoded, "-")}, ErrMissingContentLength},
		"no decoded length":         {upload{payload: streamingSigned, header: h(decoded, "-")}, ErrMissingDecodedLength},
		"decoded length no number":  {upload{payload: streamingSigned, header: h(decoded, "abc")}, ErrInvalidDecodedLength},
		"decoded length negative":   {upload{payload: streamingSigned, header: h(decoded, "-5")}, ErrInvalidDecodedLength},
		"decoded length signed":     {upload{payload: streamingSigned, header: h(decoded, "+43")}, ErrInvalidDecodedLength},
		"decoded length overflow":   {upload{payload: streamingSigned, header: h(decoded, "9223372036854775808")}, ErrInvalidDecodedLength},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.data = text
			if b, err := open(t, c.upload.request(), BodyOptions{RequireLength: true}); b != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A body cut at any byte, cleanly or not, in any kind of payload, is never at
// its end.
func TestBodyCutAnywhereNeverEnds(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	for name, u := range map[string]upload{
		"plain":            {},
		"hashed":           {payload: sha256Hex(text)},
		"signed chunks":    {payload: streamingSigned},
		"signed trailer":   {payload: streamingSignedTrailer, header: announced(), trailer: crcTrailer(text)},
		"unsigned trailer": {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text)},
		"as minio-go":      {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text), lineEnd: "\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u.data = text
			wire, err := io.ReadAll(u.request().Body)
			if err != nil {
				t.Fatal(err)
			}
			for at := range len(wire) {
				for _, c := range []struct {
					end, want error
				}{
					{io.EOF, ErrIncompleteBody},
					{io.ErrUnexpectedEOF, ErrClientGone},
					{reset, ErrClientGone},
					{&net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}, ErrClientGone},
				} {
					r := u.request()
					r.Body = cut{bytes.NewReader(wire[:at]), c.end}
					data, b, err := readAll(t, r, BodyOptions{})
					// minio-go's second empty line says nothing new.
					if name == "as minio-go" && at == len(wire)-2 && c.end == io.EOF {
						if err != nil || data != text {
							t.Errorf("without the last line: %v", err)
						}
						continue
					}
					if !errors.Is(err, c.want) || !strings.HasPrefix(text, data) {
						t.Errorf("cut at %d by %v: %q, %v", at, c.end, data, err)
					}
					mustNotLookFinished(t, b, err)
				}
			}
			// The transport fails after the last byte: nobody said it was all.
			r := u.request()
			r.Body = cut{bytes.NewReader(wire), io.ErrUnexpectedEOF}
			_, b, err := readAll(t, r, BodyOptions{})
			if !errors.Is(err, ErrClientGone) {
				t.Errorf("cut at the end: %v", err)
			}
			mustNotLookFinished(t, b, err)
		})
	}
}

func TestClientGoneKeepsItsCause(t *testing.T) {
	t.Parallel()
	r := upload{data: text}.request()
	r.Body = cut{bytes.NewReader(nil), os.ErrDeadlineExceeded}
	_, _, err := readAll(t, r, BodyOptions{})
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, ErrClientGone) {
		t.Error(err)
	}
}

// The same over a real connection, which net/http reports in its own way.
func TestClientThatVanishesIsNoEnd(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]upload{
		"plain":         {data: text},
		"signed chunks": {data: text, payload: streamingSigned},
		"no length":     {data: text, declared: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, now())
			result := make(chan error, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				q, err := v.Verify(r)
				if err != nil {
					result <- err
					return
				}
				b, err := q.Body(r, BodyOptions{})
				if err != nil {
					result <- err
					return
				}
				_, err = io.ReadAll(b)
				mustNotLookFinished(t, b, err)
				result <- err
			}))
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			r := u.request()
			var wire bytes.Buffer
			if err := r.Write(&wire); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(wire.Bytes()[:wire.Len()-10]); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if err := <-result; !errors.Is(err, ErrClientGone) {
				t.Error(err)
			}
		})
	}
}

func TestDigestsKnownBeforeReading(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms() {
		r := upload{data: text, header: map[string]string{
			"content-md5": base64MD5(text), alg.HeaderName(): base64Sum(alg, text),
		}}.request()
		b, err := open(t, r, BodyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sum, ok := b.DeclaredMD5()
		got, value, declared := b.DeclaredChecksum()
		if !ok || base64.StdEncoding.EncodeToString(sum[:]) != base64MD5(text) || !declared || got != alg ||
			base64.StdEncoding.EncodeToString(value) != base64Sum(alg, text) {
			t.Errorf("%s: %x %v, %v %x %v", alg, sum, ok, got, value, declared)
		}
		if _, ok := b.MD5(); ok || b.Checksums() != nil {
			t.Errorf("%s: digests given out before the end", alg)
		}
		if _, err := io.ReadAll(b); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if got := b.Checksums(); !maps.EqualFunc(got, map[checksum.Algorithm][]byte{alg: value}, bytes.Equal) {
			t.Errorf("%s: checksums %v", alg, got)
		}
	}
}

func TestTrailersOfEveryAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms() {
		for _, payload := range []string{streamingSignedTrailer, streamingUnsignedTrailer} {
			u := upload{
				data: text, payload: payload, header: map[string]string{"x-amz-trailer": alg.HeaderName()},
				trailer: []string{alg.HeaderName() + ":" + base64Sum(alg, text)},
			}
			_, b, err := readAll(t, u.request(), BodyOptions{})
			if err != nil || base64.StdEncoding.EncodeToString(b.Checksums()[alg]) != base64Sum(alg, text) {
				t.Errorf("%s: %v", alg, err)
			}
			u.trailer[0] = alg.HeaderName() + ":" + base64Sum(alg, "other")
			if _, _, err := readAll(t, u.request(), BodyOptions{}); !errors.Is(err, ErrChecksumMismatch) {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

func TestNothingIsHashedUnasked(t *testing.T) {
	t.Parallel()
	for _, u := range []upload{{}, {payload: streamingSigned}, {payload: streamingUnsignedTrailer}} {
		u.data = text
		b, err := open(t, u.request(), BodyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if b.digests.md5 != nil || b.digests.sums != (digests{}).sums {
			t.Errorf("%q: hashes %+v", u.payload, b.digests)
		}
		if _, err := io.ReadAll(b); err != nil {
			t.Fatal(err)
		}
		if _, ok := b.MD5(); ok || len(b.Checksums()) != 0 {
			t.Errorf("%q: digests of nothing asked", u.payload)
		}
	}
	// x-amz-content-sha256 alone is no checksum to give back.
	_, b, err := readAll(t, upload{data: text, payload: sha256Hex(text)}.request(), BodyOptions{})
	if err != nil || len(b.Checksums()) != 0 {
		t.Errorf("%v, %v", b.Checksums(), err)
	}
}

func TestChecksumHeadersCanDescribeSomethingElse(t *testing.T) {
	t.Parallel()
	u := upload{data: text, header: map[string]string{"x-amz-checksum-crc32": "AAAAAA==-3", "x-amz-checksum-type": "COMPOSITE"}}
	if _, _, err := readAll(t, u.request(), BodyOptions{IgnoreChecksumHeaders: true}); err != nil {
		t.Error(err)
	}
	if _, err := open(t, u.request(), BodyOptions{}); !errors.Is(err, ErrInvalidChecksum) {
		t.Error(err)
	}
}

func TestAnonymousBodies(t *testing.T) {
	t.Parallel()
	anonymous := func(u upload) *http.Request {
		r := u.request()
		r.Header.Del("Authorization")
		return r
	}
	u := upload{data: text, payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text)}
	if data, _, err := readAll(t, anonymous(u), BodyOptions{}); err != nil || data != text {
		t.Errorf("%q, %v", data, err)
	}
	if _, _, err := readAll(t, anonymous(upload{data: text, payload: emptySHA256}), BodyOptions{}); !errors.Is(err, ErrContentSHA256Mismatch) {
		t.Error(err)
	}
}

func TestBodyWithoutAnyIsEmpty(t *testing.T) {
	t.Parallel()
	r := signing{at: now(), payload: emptySHA256}.inHeader()
	r.Body, r.ContentLength = nil, 0
	if data, b, err := readAll(t, r, BodyOptions{RequireLength: true}); err != nil || data != "" || b.Size() != 0 {
		t.Errorf("%q, %v", data, err)
	}
}

// A body at its end, good or bad, has given its buffer back.
func TestBodyReleasesItsBuffer(t *testing.T) {
	t.Parallel()
	for _, wrongSig := range []string{"", "chunk", "last"} {
		_, b, _ := readAll(t, upload{data: text, payload: streamingSigned, wrongSig: wrongSig}.request(), BodyOptions{})
		if c, ok := b.src.(*chunked); !ok || c.in != nil {
			t.Errorf("wrong signature %q: buffer kept", wrongSig)
		}
	}
}

// Neither a chunk nor the body as a whole is held in memory.
func TestBodyUsesConstantMemory(t *testing.T) {
	const size = 256 << 20
	r := upload{
		payload: streamingUnsignedTrailer, header: map[string]string{"x-amz-decoded-content-length": "268435456"},
	}.request()
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("10000000\r\n"), &zeros{size}, strings.NewReader("\r\n0\r\n\r\n")))
	r.ContentLength = -1
	b, err := open(t, r, BodyOptions{Compute: []checksum.Algorithm{checksum.CRC32C}})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{b}, make([]byte, 64<<10))
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Fatalf("%d, %v", n, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 256<<10 {
		t.Errorf("%d bytes allocated", grown)
	}
}
