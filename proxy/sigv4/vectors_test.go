package sigv4

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// awsTime is when the examples of the AWS pages were signed.
func awsTime() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }

// awsRequest parses a request as the AWS pages print it.
func awsRequest(method, target, host, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Set(name, strings.TrimSpace(value))
	}
	return r
}

func awsAuthorization(signedHeaders, signature string) string {
	return "Authorization: AWS4-HMAC-SHA256 Credential=" + testKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
		signedHeaders + ",Signature=" + signature
}

// The examples of "Signature Calculations for the Authorization Header:
// Transferring Payload in a Single Chunk" and of "Using Query Parameters".
func TestAWSExamplesVerify(t *testing.T) {
	t.Parallel()
	const host = "examplebucket.s3.amazonaws.com"
	const date = "X-Amz-Date: 20130524T000000Z"
	for name, r := range map[string]*http.Request{
		"GET object": awsRequest("GET", "/test.txt", host, "", "Range: bytes=0-9", date,
			"X-Amz-Content-Sha256: "+emptySHA256,
			awsAuthorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")),
		"PUT object": awsRequest("PUT", "/test$file.text", host, "Welcome to Amazon S3.", "Date: Fri, 24 May 2013 00:00:00 GMT", date,
			"X-Amz-Storage-Class: REDUCED_REDUNDANCY",
			"X-Amz-Content-Sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			awsAuthorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")),
		"GET lifecycle": awsRequest("GET", "/?lifecycle", host, "", date, "X-Amz-Content-Sha256: "+emptySHA256,
			awsAuthorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
		"list objects": awsRequest("GET", "/?max-keys=2&prefix=J", host, "", date, "X-Amz-Content-Sha256: "+emptySHA256,
			awsAuthorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
		"presigned": awsRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"+
			"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"+
			"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", host, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := newVerifier(t, awsTime()).Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			if q.AccessKey != testKey || q.Region != "us-east-1" || !q.Date.Equal(awsTime()) || !q.Signed("Host") {
				t.Errorf("request is %+v, signed %q", q, q.SignedHeaders)
			}
			b, err := q.Body(r, BodyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(b); err != nil {
				t.Errorf("body: %v", err)
			}
		})
	}
}

// awsStreaming returns the request and wire body of the streaming examples,
// which sign 65 KiB of the letter a.
func awsStreaming(trailer bool) (r *http.Request, wire string) {
	a := func(n int) string { return strings.Repeat("a", n) }
	headers := []string{
		"X-Amz-Date: 20130524T000000Z", "X-Amz-Storage-Class: REDUCED_REDUNDANCY", "Content-Encoding: aws-chunked",
		"X-Amz-Decoded-Content-Length: 66560",
	}
	if trailer {
		wire = "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + a(65536) +
			"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + a(1024) +
			"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
			"x-amz-checksum-crc32c:sOO8/Q==\r\n" +
			"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
		headers = append(headers, "X-Amz-Content-Sha256: "+streamingSignedTrailer, "X-Amz-Trailer: x-amz-checksum-crc32c",
			awsAuthorization("content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
				"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"))
	} else {
		wire = "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + a(65536) +
			"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + a(1024) +
			"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
		headers = append(headers, "X-Amz-Content-Sha256: "+streamingSigned,
			awsAuthorization("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
				"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"))
	}
	return awsRequest("PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com", wire, headers...), wire
}

// The examples of "Transferring Payload in Multiple Chunks" and "Trailing
// Headers".
func TestAWSStreamingExamplesDecode(t *testing.T) {
	t.Parallel()
	for name, trailer := range map[string]bool{"plain": false, "trailer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := awsStreaming(trailer)
			q, err := newVerifier(t, awsTime()).Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := q.Body(r, BodyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(b)
			if err != nil || string(data) != strings.Repeat("a", 66560) {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			if b.Err() != io.EOF || b.Size() != 66560 {
				t.Errorf("Err %v, Size %d", b.Err(), b.Size())
			}
			if got := b.Checksums(); len(got) != 0 && !trailer {
				t.Errorf("checksums %v that nobody asked for", got)
			}
			if alg, ok := b.TrailerChecksum(); ok != trailer || ok && alg != checksum.CRC32C {
				t.Errorf("trailer checksum %v, %v", alg, ok)
			}
		})
	}
}
