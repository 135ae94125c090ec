package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The account that every server here knows, on loopback and for minutes.
const (
	accessKey = "benchmark"
	secretKey = "benchmark-secret"
	region    = "us-east-1"
)

// header is one line of a request; the name is in lower case.
type header struct{ name, value string }

// signedHead returns the head of a request, up to and with its empty line, signed
// by AWS signature version 4 with an unsigned payload. Path and query are as they
// go over the wire, the query in order; length is that of the body, or less than 0
// for none. Servers take it for 15 minutes from now on.
func signedHead(now time.Time, method, host, path, query string, length int64, extra ...header) []byte {
	const payload = "UNSIGNED-PAYLOAD"
	stamp := now.UTC().Format("20060102T150405Z")
	headers := append([]header{{"host", host}, {"x-amz-content-sha256", payload}, {"x-amz-date", stamp}}, extra...)
	slices.SortFunc(headers, func(a, b header) int { return strings.Compare(a.name, b.name) })

	var canonical, names, lines strings.Builder
	canonical.WriteString(method + "\n" + path + "\n" + query + "\n")
	for i, h := range headers {
		if i > 0 {
			names.WriteByte(';')
		}
		names.WriteString(h.name)
		canonical.WriteString(h.name + ":" + h.value + "\n")
		lines.WriteString(h.name + ": " + h.value + "\r\n")
	}
	canonical.WriteString("\n" + names.String() + "\n" + payload)

	scope := stamp[:8] + "/" + region + "/s3/aws4_request"
	digest := sha256.Sum256([]byte(canonical.String()))
	key := []byte("AWS4" + secretKey)
	for _, part := range []string{stamp[:8], region, "s3", "aws4_request", "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(digest[:])} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}

	var head strings.Builder
	head.WriteString(method + " " + path)
	if query != "" {
		head.WriteString("?" + query)
	}
	head.WriteString(" HTTP/1.1\r\n" + lines.String())
	head.WriteString("authorization: AWS4-HMAC-SHA256 Credential=" + accessKey + "/" + scope + ",SignedHeaders=" + names.String() + ",Signature=" + hex.EncodeToString(key) + "\r\n")
	if length >= 0 {
		head.WriteString("content-length: " + strconv.FormatInt(length, 10) + "\r\n")
	}
	head.WriteString("\r\n")
	return []byte(head.String())
}
