package integration

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// badPut is a PUT that must be refused and must store nothing.
type badPut struct {
	name    string
	request request
	status  int
	code    string
	// message may hold BUCKET; "" is not compared with a literal, only with MinIO's.
	message string
}

func customerHeaders(key []byte) map[string]string {
	return map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256",
		"X-Amz-Server-Side-Encryption-Customer-Key":       base64.StdEncoding.EncodeToString(key),
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5":   contentMD5(key),
	}
}

func with(header map[string]string, pairs ...string) map[string]string {
	all := map[string]string{}
	for name, value := range header {
		all[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func badPuts(data []byte) []badPut {
	const invalid = "Invalid arguments provided for BUCKET/bad: "
	const algorithm, keyID, context = "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Context"
	header := func(pairs ...string) request { return request{header: with(nil, pairs...)} }
	return []badPut{
		{
			"payload hash of other data",
			request{payload: sha256Hex([]byte("other"))},
			400, "XAmzContentSHA256Mismatch",
			"The provided 'x-amz-content-sha256' header does not match what was computed.",
		},
		{
			"MD5 of other data", header("Content-Md5", contentMD5([]byte("other"))), 400, "BadDigest",
			"The Content-Md5 you specified did not match what we received.",
		},
		{"MD5 that is none", header("Content-Md5", "bm90IGFuIG1kNQ=="), 400, "InvalidDigest", "The Content-Md5 you specified is not valid."},
		{"MD5 not base64", header("Content-Md5", "!!"), 400, "InvalidDigest", "The Content-Md5 you specified is not valid."},
		{
			"checksum of other data", header("X-Amz-Checksum-Crc32c", "AAAAAA=="), 400, "XAmzContentChecksumMismatch",
			"The provided 'x-amz-checksum' header does not match what was computed.",
		},
		{"two checksums", header("X-Amz-Checksum-Crc32c", "AAAAAA==", "X-Amz-Checksum-Crc32", "AAAAAA=="), 400, "InvalidArgument", ""},
		{"checksum not base64", header("X-Amz-Checksum-Crc32c", "x"), 400, "InvalidArgument", ""},
		{"unknown algorithm", header(algorithm, "foo"), 400, "InvalidArgument", invalid + "(The encryption method is not supported)"},
		{"dsse", header(algorithm, "aws:kms:dsse"), 400, "InvalidArgument", invalid + "(The encryption method is not supported)"},
		{"AES256 with a key id", header(algorithm, "AES256", keyID, defaultKey), 400, "InvalidArgument", invalid + "(The encryption method is not supported)"},
		{"key id alone", header(keyID, defaultKey), 400, "InvalidArgument", invalid + "(The encryption method is not supported)"},
		{"context alone", header(context, "e30="), 400, "InvalidArgument", invalid + "(The encryption method is not supported)"},
		{"missing KMS key", header(algorithm, "aws:kms", keyID, "no-such-key"), 404, "kms:KeyNotFound", "key with given key ID does not exist"},
		{"context not base64", header(algorithm, "aws:kms", context, "%%%"), 400, "InvalidArgument", invalid + "(illegal base64 data at input byte 0)"},
		{"context not JSON", header(algorithm, "aws:kms", context, base64.StdEncoding.EncodeToString([]byte("nope"))), 400, "InvalidArgument", ""},
		{"context of numbers", header(algorithm, "aws:kms", context, base64.StdEncoding.EncodeToString([]byte(`{"a":1}`))), 400, "InvalidArgument", ""},
		{
			"SSE-C and SSE-S3 over http",
			request{header: with(customerHeaders(data[:32]), algorithm, "AES256")},
			400, "InvalidRequest",
			"Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
		},
		{
			"SSE-C over http",
			request{header: customerHeaders(data[:32])},
			400, "InvalidRequest",
			"Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
		},
		{
			"metadata too large", header("X-Amz-Meta-Long", strings.Repeat("x", 2049)), 400, "MetadataTooLarge",
			"Your metadata headers exceed the maximum allowed metadata size.",
		},
		{"key too long", request{key: strings.Repeat("k/", 600)}, 400, "KeyTooLongError", ""},
		{"storage class", header("X-Amz-Storage-Class", "GLACIER"), 400, "InvalidStorageClass", ""},
	}
}

func TestBadPutsAreRefusedAsMinIODoes(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	ref := referenceClient(t)
	ref.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	data := testData(5000, 16)
	for _, tc := range badPuts(data) {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.request
			r.method, r.bucket, r.body = http.MethodPut, bucket, data
			if r.key == "" {
				r.key = "bad"
			}
			got := c.do(t, r)
			got.wantError(t, tc.status, tc.code, strings.ReplaceAll(tc.message, "BUCKET", bucket))
			if want := ref.do(t, r); !differs(tc.name) {
				wantAsReference(t, got, want)
			}
		})
	}
	wantNothingStored(t, s, bucket, "bad")
}

func TestSpoiledChunkedBodiesStoreNothing(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	ref := referenceClient(t)
	ref.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	for name, size := range map[string]int{"small": 5000, "large": 9<<20 + 5} {
		data := testData(size, 17)
		base := chunkedBody{data: data, chunk: packageSize, trailerName: "x-amz-checksum-crc32c", trailerValue: "AAAAAA=="}
		for _, tc := range []struct {
			name, kind string
			change     func(*chunkedBody)
			header     map[string]string
			status     int
			code       string
		}{
			{"tampered first chunk", streamingSigned, func(b *chunkedBody) { b.trailerName, b.badChunk = "", 1 }, nil, 403, "SignatureDoesNotMatch"},
			{"tampered last chunk", streamingSigned, func(b *chunkedBody) { b.trailerName, b.badChunk = "", (size+packageSize-1)/packageSize }, nil, 403, "SignatureDoesNotMatch"},
			{"wrong unsigned trailer", streamingUnsignedTrailer, func(*chunkedBody) {}, nil, 400, "XAmzContentChecksumMismatch"},
			{"wrong signed trailer", streamingSignedTrailer, func(*chunkedBody) {}, nil, 400, "XAmzContentChecksumMismatch"},
			{"wrong trailer signature", streamingSignedTrailer, func(b *chunkedBody) { b.badTrailerSignature = true }, nil, 403, "SignatureDoesNotMatch"},
			{
				"longer than declared", streamingSigned, func(b *chunkedBody) { b.trailerName = "" },
				map[string]string{"X-Amz-Decoded-Content-Length": "4999"},
				400, "ExcessData",
			},
			{
				"shorter than declared", streamingSigned, func(b *chunkedBody) { b.trailerName = "" },
				map[string]string{"X-Amz-Decoded-Content-Length": "99999999"},
				400, "IncompleteBody",
			},
		} {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				b := base
				tc.change(&b)
				got, err := c.putChunked(bucket, "bad", tc.kind, b, tc.header)
				if err != nil {
					// The server may answer and hang up while a large body is still being sent.
					t.Logf("no answer: %v", err)
				} else {
					if !differs(tc.name) || !targetIsMinIO() {
						got.wantError(t, tc.status, tc.code, "")
					}
					if want, err := ref.putChunked(bucket, "bad", tc.kind, b, tc.header); err == nil && !differs(tc.name) {
						wantAsReference(t, got, want)
					}
				}
				wantNothingStored(t, s, bucket, "bad")
			})
		}
	}
}

func TestClientThatVanishesStoresNothing(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for name, size := range map[string]int{"small": 3*packageSize + 9, "large": 9<<20 + 9} {
		data := testData(size, 18)
		for part, cut := range map[string]int{
			"at once": 1, "in the first package": 1000, "in the middle": size / 2, "on a package border": 2 * packageSize, "before the last byte": size - 1,
		} {
			t.Run(name+"/plain/"+part, func(t *testing.T) {
				key := name + part
				req, err := c.build(request{method: http.MethodPut, bucket: bucket, key: key, body: data})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.sendCut(req, data[:cut]); !errors.Is(err, errShort) {
					t.Fatal(err)
				}
				wantNothingStored(t, s, bucket, key)
			})
		}
		for _, kind := range []string{streamingSigned, streamingSignedTrailer, streamingUnsignedTrailer} {
			vanishInChunks(t, s, bucket, name, kind, data)
		}
	}
}

func vanishInChunks(t *testing.T, s *stack, bucket, name, kind string, data []byte) {
	t.Helper()
	c := s.client()
	b := chunkedBody{data: data, chunk: packageSize}
	if kind != streamingSigned {
		b.trailerName, b.trailerValue = "x-amz-checksum-crc32c", "AAAAAA=="
	}
	all := len(b.encode("", "", c.now(), kind))
	for part, cut := range map[string]int{
		"in the chunk header": 3, "in a chunk": packageSize + 500, "in the last chunk": all - 400, "in the terminator": all - 1, "before the terminator": all - 36,
	} {
		t.Run(name+"/"+kind+"/"+part, func(t *testing.T) {
			if strings.Contains(part, "terminator") {
				needsSeal(t) // MinIO is content with the bytes, without their end.
			}
			b, key := b, name+kind+part
			b.cut = cut
			if _, err := c.putChunked(bucket, key, kind, b, nil); !errors.Is(err, errShort) {
				t.Fatal(err)
			}
			wantNothingStored(t, s, bucket, key)
		})
	}
}
