package integration

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	packageSize = 64 << 10
	// packageOverhead is what DARE 2.0 adds to a package: a header of 16 bytes and
	// a tag of 16.
	packageOverhead = 32
)

// borderSizes are the sizes that go wrong first.
func borderSizes() []int {
	return []int{0, 1, 15, 4096, packageSize - 1, packageSize, packageSize + 1, 2*packageSize + 1}
}

// testData is random-looking and the same for the same size and seed.
func testData(size int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(size)
	data := make([]byte, size)
	src := rand.NewChaCha8(key)
	_, _ = src.Read(data)
	return data
}

// cipherSize is the documented length of the ciphertext of size plain bytes.
func cipherSize(size int) int64 {
	packages := (size + packageSize - 1) / packageSize
	return int64(size) + int64(packages)*packageOverhead
}

// wantSealed checks what lies in MinIO: ciphertext of the documented length,
// nothing of the plaintext, and metadata with neither key nor plaintext digest.
func wantSealed(t *testing.T, s *stack, bucket, key string, plain []byte) answer {
	t.Helper()
	if s.seal == nil {
		return answer{}
	}
	a := s.raw().get(t, bucket, key, nil).wantStatus(t, http.StatusOK)
	if got, want := int64(len(a.body)), cipherSize(len(plain)); got != want {
		t.Errorf("%s: %d bytes in MinIO, want %d", key, got, want)
	}
	wantNoPlaintext(t, key, a.body, plain)
	records := 0
	for name, values := range a.header {
		joined := strings.Join(values, ",")
		if strings.HasPrefix(name, "X-Amz-Meta-Bucketseal") {
			records++
		}
		if len(plain) > 0 && strings.Contains(joined, strings.Trim(md5ETag(plain), `"`)) {
			t.Errorf("%s: header %s in MinIO holds the MD5 of the plaintext", key, name)
		}
		wantNoPlaintext(t, key+" header "+name, []byte(joined), plain)
	}
	if records != 1 {
		t.Errorf("%s: %d records in MinIO's metadata, want 1: %v", key, records, a.header)
	}
	return a
}

// wantNoPlaintext searches stored for runs of the plaintext.
func wantNoPlaintext(t *testing.T, what string, stored, plain []byte) {
	t.Helper()
	const run = 16
	step := max(run, len(plain)/64)
	for i := 0; i+run <= len(plain); i += step {
		if bytes.Contains(stored, plain[i:i+run]) {
			t.Errorf("%s: bytes %d to %d of the plaintext are readable", what, i, i+run)
			return
		}
	}
}

// wantNotOnDisk searches every file below the directories for any of the words.
func wantNotOnDisk(t *testing.T, dirs []string, words ...string) {
	t.Helper()
	files := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // MinIO removes files while we walk.
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			files++
			for _, word := range words {
				if bytes.Contains(data, []byte(word)) {
					t.Errorf("%s contains %q", path, word)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files == 0 {
		t.Fatalf("nothing to search in %v", dirs)
	}
}

// sseMode is a way to ask for encryption and what the answers say then.
type sseMode struct {
	name string
	put  map[string]string
	want map[string]string
	// md5 says that the ETag is the plaintext's MD5.
	md5 bool
}

func sseModes() []sseMode {
	return []sseMode{
		{
			name: "sse-s3", md5: true,
			put: map[string]string{"X-Amz-Server-Side-Encryption": "AES256"},
			want: map[string]string{
				"X-Amz-Server-Side-Encryption":                "AES256",
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "",
			},
		},
		{
			name: "sse-kms default key",
			put:  map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"},
			want: map[string]string{
				"X-Amz-Server-Side-Encryption":                "aws:kms",
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:" + defaultKey,
				"X-Amz-Server-Side-Encryption-Context":        "",
			},
		},
		{
			name: "sse-kms key and context",
			put: map[string]string{
				"X-Amz-Server-Side-Encryption":                "aws:kms",
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:" + defaultKey,
				"X-Amz-Server-Side-Encryption-Context":        "eyJkZXBhcnRtZW50IjoiMTAifQ==",
			},
			want: map[string]string{
				"X-Amz-Server-Side-Encryption":                "aws:kms",
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:" + defaultKey,
				"X-Amz-Server-Side-Encryption-Context":        "eyJkZXBhcnRtZW50IjoiMTAifQ==",
			},
		},
	}
}
