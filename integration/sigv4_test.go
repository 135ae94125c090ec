package integration

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A second, independent implementation of AWS Signature Version 4, so that the
// tests can send what SDKs never would. Source: AWS, "Signature Version 4
// signing process" and "sigv4-streaming".

const (
	region        = "us-east-1"
	amzTime       = "20060102T150405Z"
	emptyHash     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signAlgorithm = "AWS4-HMAC-SHA256"

	streamingSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

func hmacSHA256(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func signingKey(secret string, at time.Time) []byte {
	key := hmacSHA256([]byte("AWS4"+secret), at.Format("20060102"))
	for _, part := range []string{region, "s3", "aws4_request"} {
		key = hmacSHA256(key, part)
	}
	return key
}

func scope(at time.Time) string {
	return at.Format("20060102") + "/" + region + "/s3/aws4_request"
}

// canonicalQuery sorts the pairs of a raw query, by name and then by value, and
// gives each a "=".
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	pairs := strings.Split(raw, "&")
	for i, p := range pairs {
		if !strings.Contains(p, "=") {
			pairs[i] = p + "="
		}
	}
	slices.SortFunc(pairs, func(a, b string) int {
		aName, aValue, _ := strings.Cut(a, "=")
		bName, bValue, _ := strings.Cut(b, "=")
		return cmp.Or(strings.Compare(aName, bName), strings.Compare(aValue, bValue))
	})
	return strings.Join(pairs, "&")
}

func signature(secret string, at time.Time, canonicalRequest string) string {
	toSign := strings.Join([]string{signAlgorithm, at.Format(amzTime), scope(at), sha256Hex([]byte(canonicalRequest))}, "\n")
	return hex.EncodeToString(hmacSHA256(signingKey(secret, at), toSign))
}

// sign adds the Authorization header. Every header is signed but those named.
func (c *client) sign(req *http.Request, path, payload string, unsigned []string) {
	at := c.now().UTC()
	req.Header.Set("X-Amz-Date", at.Format(amzTime))
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	values := map[string]string{"host": host}
	for name, v := range req.Header {
		if !slices.ContainsFunc(unsigned, func(u string) bool { return strings.EqualFold(u, name) }) {
			values[strings.ToLower(name)] = strings.Join(v, ",")
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	var headers strings.Builder
	for _, name := range names {
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(values[name]))
	}
	signed := strings.Join(names, ";")
	canonical := strings.Join([]string{req.Method, path, canonicalQuery(req.URL.RawQuery), headers.String(), signed, payload}, "\n")
	req.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		signAlgorithm, c.access, scope(at), signed, signature(c.secret, at, canonical)))
}

// presign returns a link for one request, valid from the client's clock on.
func (c *client) presign(method, bucket, key string, expires time.Duration, extra ...string) string {
	at := c.now().UTC()
	base, _ := url.Parse(c.endpoint)
	path := "/" + bucket + "/" + escapePath(key)
	pairs := append([]string{
		"X-Amz-Algorithm", signAlgorithm,
		"X-Amz-Credential", c.access + "/" + scope(at),
		"X-Amz-Date", at.Format(amzTime),
		"X-Amz-Expires", strconv.Itoa(int(expires.Seconds())),
		"X-Amz-SignedHeaders", "host",
	}, extra...)
	q := query(pairs...)
	canonical := strings.Join([]string{method, path, canonicalQuery(q), "host:" + base.Host + "\n", "host", "UNSIGNED-PAYLOAD"}, "\n")
	return c.endpoint + path + "?" + q + "&X-Amz-Signature=" + signature(c.secret, at, canonical)
}

// chunkedBody builds aws-chunked bodies, right ones and wrong ones.
type chunkedBody struct {
	data  []byte
	chunk int
	// trailerName and trailerValue are sent after the last chunk if given.
	trailerName, trailerValue string
	// badChunk is the chunk, counted from 1, whose data is altered after signing; 0 is none.
	badChunk int
	// badTrailerSignature spoils the signature of the trailer.
	badTrailerSignature bool
	// cut ends the body after so many bytes on the wire; 0 is never. The
	// Content-Length promises the rest.
	cut int
}

// putChunked sends b as the body of a PUT of the payload kind given.
func (c *client) putChunked(bucket, key, kind string, b chunkedBody, header map[string]string) (answer, error) {
	all := map[string]string{
		"Content-Encoding":             "aws-chunked",
		"X-Amz-Decoded-Content-Length": strconv.Itoa(len(b.data)),
	}
	if b.trailerName != "" {
		all["X-Amz-Trailer"] = b.trailerName
	}
	for name, value := range header {
		if value == "" {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	// The body's length is signed and must be known before the seed signature is:
	// it does not depend on it.
	length := len(b.encode("", "", time.Time{}, kind))
	r := request{method: http.MethodPut, bucket: bucket, key: key, header: all, payload: kind}
	r.stream, r.size = strings.NewReader(""), int64(length)
	req, err := c.build(r)
	if err != nil {
		return answer{}, err
	}
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	at, err := time.Parse(amzTime, req.Header.Get("X-Amz-Date"))
	if err != nil {
		return answer{}, err
	}
	wire := b.encode(seed, c.secret, at, kind)
	if b.cut > 0 {
		return c.sendCut(req, wire[:b.cut])
	}
	req.Body = readCloser{bytes.NewReader(wire)}
	return c.roundTrip(req, "PUT "+kind+" "+key)
}

func (b chunkedBody) encode(seed, secret string, at time.Time, kind string) []byte {
	var out bytes.Buffer
	signed := kind != streamingUnsignedTrailer
	key := signingKey(secret, at)
	previous := seed
	sign := func(label, rest string) string {
		previous = hex.EncodeToString(hmacSHA256(key, strings.Join([]string{label, at.Format(amzTime), scope(at), previous, rest}, "\n")))
		return previous
	}
	emit := func(number int, data []byte) {
		fmt.Fprintf(&out, "%x", len(data))
		if signed {
			fmt.Fprintf(&out, ";chunk-signature=%s", sign(signAlgorithm+"-PAYLOAD", emptyHash+"\n"+sha256Hex(data)))
		}
		out.WriteString("\r\n")
		if number == b.badChunk && len(data) > 0 {
			data = slices.Clone(data)
			data[len(data)/2] ^= 1
		}
		out.Write(data)
		if len(data) > 0 || b.trailerName == "" {
			out.WriteString("\r\n")
		}
	}
	number := 1
	for rest := b.data; len(rest) > 0; number++ {
		n := min(b.chunk, len(rest))
		emit(number, rest[:n])
		rest = rest[n:]
	}
	emit(0, nil)
	if b.trailerName == "" {
		return out.Bytes()
	}
	fmt.Fprintf(&out, "%s:%s\r\n", b.trailerName, b.trailerValue)
	if signed {
		s := sign(signAlgorithm+"-TRAILER", sha256Hex([]byte(b.trailerName+":"+b.trailerValue+"\n")))
		if b.badTrailerSignature {
			s = strings.Repeat("0", len(s))
		}
		fmt.Fprintf(&out, "x-amz-trailer-signature:%s\r\n", s)
	}
	out.WriteString("\r\n")
	return out.Bytes()
}
