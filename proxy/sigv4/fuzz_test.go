package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// isSentinel says whether an error wraps exactly one sentinel.
func isSentinel(err error) bool {
	n := 0
	for _, s := range Sentinels() {
		if errors.Is(err, s) {
			n++
		}
	}
	return n == 1
}

func FuzzAuthorizationHeader(f *testing.F) {
	valid := signing{at: now()}.inHeader()
	f.Add(valid.Header.Get("Authorization"), "20260301T120000Z", "acl")
	f.Add("AWS4-HMAC-SHA256 Credential=a/20260301/r/s3/aws4_request,SignedHeaders=host,Signature=0", "", "a=%&b")
	f.Add("AWS a:b", "x", "X-Amz-Credential=a")
	want := valid.Header.Get("Authorization")
	v := newVerifier(f, now())
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := signing{at: now()}.inHeader()
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		r.URL.RawQuery = query
		q, err := v.Verify(r)
		if err != nil {
			if !isSentinel(err) || q != nil {
				t.Fatalf("%v, %v", q, err)
			}
			return
		}
		// Nobody guesses a signature: what verifies has the valid one.
		_, signature, _ := strings.Cut(want, "Signature=")
		if q.Kind != Header || q.AccessKey != testKey || !strings.Contains(authorization, signature) || date != "20260301T120000Z" {
			t.Fatalf("%q verified", authorization)
		}
	})
}

func FuzzPresignedQuery(f *testing.F) {
	valid := signing{at: now(), query: "versionId=1&x-amz-meta-a=b"}.inQuery("60").URL.RawQuery
	f.Add(valid)
	f.Add(strings.Replace(valid, "Expires=60", "Expires=-1", 1))
	f.Add("X-Amz-Signature&X-Amz-Signature=;%")
	want, err := url.ParseQuery(valid)
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, now())
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/bucket/key", nil)
		r.Host, r.URL.RawQuery = "s3.example.com", query
		q, err := v.Verify(r)
		if err != nil {
			if !isSentinel(err) || q != nil {
				t.Fatalf("%v, %v", q, err)
			}
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("verified a query that net/url refuses: %v", err)
		}
		if q.Kind == Presigned && values.Encode() != want.Encode() {
			t.Fatalf("verified %q", query)
		}
		if err := q.HoistQuery(r); err != nil && !isSentinel(err) {
			t.Fatal(err)
		}
		for name, vs := range r.Header {
			if !validHeaderName(name) || !validHeaderValue(vs[0]) || len(vs) != 1 {
				t.Fatalf("hoisted %q: %q", name, vs)
			}
		}
	})
}

// decodeChunks is the reference: it has the whole body at hand and takes it
// apart by the grammar. ok is true if the body is complete and right.
func decodeChunks(wire, payload, seed string, size int, trailer checksum.Algorithm) (data string, ok bool) {
	signed := strings.HasPrefix(payload, streamingSigned)
	s := signing{at: now()}
	s.defaults()
	good := func(kind, sig string, parts ...string) bool {
		toSign := append([]string{"AWS4-HMAC-SHA256-" + kind, "20260301T120000Z", s.scope, seed}, parts...)
		seed = hex.EncodeToString(hmacSHA256(s.signingKey(), strings.Join(toSign, "\n")))
		return sig == seed
	}
	for {
		line, rest, found := strings.Cut(wire, "\r\n")
		digits, sig, extended := strings.Cut(line, ";chunk-signature=")
		n, err := strconv.ParseUint(digits, 16, 63)
		if !found || err != nil || extended != signed || strings.ContainsAny(digits, "+_") || len(digits) > 16 || n > uint64(len(rest)) {
			return "", false
		}
		if signed && !good("PAYLOAD", sig, sha256Hex(""), sha256Hex(rest[:n])) {
			return "", false
		}
		data += rest[:n]
		wire = rest[n:]
		if n == 0 {
			break
		}
		if wire, found = strings.CutPrefix(wire, "\r\n"); !found {
			return "", false
		}
	}
	if len(data) != size || len(wire) > maxTrailer {
		return "", false
	}
	if trailer == 0 {
		return data, wire == "\r\n"
	}
	name, rest, _ := strings.Cut(wire, ":")
	value, rest, found := strings.Cut(rest, "\n")
	value = strings.Trim(strings.TrimSuffix(value, "\r"), " \t")
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	h := trailer.New()
	h.Write([]byte(data))
	if !found || err != nil || !strings.EqualFold(name, trailer.HeaderName()) || !bytes.Equal(h.Sum(nil), sum) ||
		strings.ContainsAny(value, "\r\n") {
		return "", false
	}
	if signed {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "\r"), "\n")
		var sig string
		name, rest, _ = strings.Cut(rest, ":")
		if sig, rest, found = strings.Cut(rest, "\n"); !found || !strings.EqualFold(name, "x-amz-trailer-signature") ||
			!good("TRAILER", strings.Trim(strings.TrimSuffix(sig, "\r"), " \t"), sha256Hex(strings.ToLower(trailer.HeaderName())+":"+value+"\n")) {
			return "", false
		}
	}
	return data, rest == "\r\n" || rest == "\r\n\r\n" || rest == "\n\r\n"
}

func FuzzChunkedBody(f *testing.F) {
	kinds := []upload{
		{payload: streamingSigned},
		{payload: streamingSignedTrailer, header: announced(), trailer: crcTrailer(text)},
		{payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text)},
		{payload: streamingUnsignedTrailer},
	}
	for i, u := range kinds {
		u.data = text
		for _, end := range []string{"\r\n", "\n", "\n\r\n"} {
			u.lineEnd = end
			wire, _ := io.ReadAll(u.request().Body)
			f.Add(i, len(text), wire, 7)
			f.Add(i, len(text), wire[:len(wire)-2], 64)
			f.Add(i, len(text)-1, wire, 64)
		}
	}
	f.Add(3, 3, []byte("1\r\na\r\n02\r\nbc\r\n0\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, kind, size int, wire []byte, step int) {
		if kind < 0 || kind >= len(kinds) || size < 0 || step <= 0 || step > 1<<16 {
			t.Skip()
		}
		u := kinds[kind]
		u.data = text
		u.header = map[string]string{"x-amz-decoded-content-length": strconv.Itoa(size)}
		if len(u.trailer) > 0 {
			u.header["x-amz-trailer"] = "x-amz-checksum-crc32"
		}
		r := u.request()
		_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(wire)), int64(len(wire))
		b, err := open(t, r, BodyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		announced, _ := b.TrailerChecksum()
		want, complete := decodeChunks(string(wire), u.payload, seed, size, announced)
		data, err := drain(b, step)
		if (err == io.EOF) != complete {
			t.Fatalf("reference says complete is %v, Body %v", complete, err)
		}
		if complete && data != want {
			t.Fatalf("got %q, want %q", data, want)
		}
		if !complete && (!isSentinel(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Fatalf("error %v", err)
		}
	})
}

// drain reads with buffers of step bytes and returns the error that ended it.
func drain(b *Body, step int) (string, error) {
	var data []byte
	for p := make([]byte, step); ; {
		n, err := b.Read(p)
		data = append(data, p[:n]...)
		if err != nil {
			return string(data), err
		}
	}
}

func FuzzCanonicalEscape(f *testing.F) {
	f.Add("/a b/\xff%2F~", true)
	f.Fuzz(func(t *testing.T, s string, path bool) {
		e := escape(s, path)
		back, err := url.PathUnescape(e)
		if err != nil || back != s {
			t.Fatalf("%q, %v", back, err)
		}
		if !path && e != strings.ReplaceAll(url.QueryEscape(s), "+", "%20") {
			t.Fatalf("%q", e)
		}
	})
}
