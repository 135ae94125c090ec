package integration

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
)

// fetchRaw is MinIO's own answer for another object, as an answer to give.
func (h *hostile) fetchRaw(method, bucket, key string, header map[string]string) *http.Response {
	a, err := h.stack.raw().try(request{method: method, bucket: bucket, key: key, header: header})
	if err != nil {
		return nil
	}
	resp := &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1}
	return resp
}

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// flipRecord changes one byte of a record's binary form, counted from its end
// if at is negative.
func flipRecord(text string, at int) string {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return text + "A"
	}
	if at < 0 {
		at += len(b)
	}
	b[min(max(at, 0), len(b)-1)] ^= 0x01
	return base64.RawURLEncoding.EncodeToString(b)
}

// complete says that a client takes the answer for a good one.
func (a answer) complete() bool { return a.status >= 200 && a.status < 300 && a.bodyErr == nil }
