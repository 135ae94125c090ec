package upstream

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

func TestWhatQuestionsAboutRulesSend(t *testing.T) {
	t.Parallel()
	rule := string(bucketconfig.Rule{Algorithm: bucketconfig.AES256}.XML())
	sum := md5.Sum([]byte(rule)) //nolint:gosec // see above
	for _, tt := range []struct {
		right        storage.Right
		method, body string
		status       int
		answer       string
		header       map[string]string
	}{
		{storage.ReadRule, "GET", "", 404, "<Error><Code>" + noEncryptionRule + "</Code></Error>", nil},
		{storage.RemoveRule, "DELETE", "", 204, "", nil},
		{storage.WriteRule, "PUT", rule, 501, "<Error/>", map[string]string{
			"Content-Type": "application/xml", "Content-Md5": base64.StdEncoding.EncodeToString(sum[:]),
		}},
	} {
		client, got := recordingMinIO(t, tt.status, nil, tt.answer)
		err := client.Storage(storage.Credential{}).As(testActor).May(t.Context(), &storage.Question{Right: tt.right, Name: sse.Name{Bucket: "b"}})
		if err != nil {
			t.Fatalf("%s: %v", tt.method, err)
		}
		seen, want := <-got, sent{method: tt.method, path: "/b", body: tt.body, query: maps.Clone(testActor.Told), header: actorsHeaders()}
		want.query["encryption"] = []string{""}
		maps.Copy(want.header, tt.header)
		want.header["X-Amz-Content-Sha256"] = seen.header["X-Amz-Content-Sha256"]
		if hash := want.header["X-Amz-Content-Sha256"]; len(hash) != 64 { // signed whole
			t.Errorf("%s: the body's hash is %q", tt.method, hash)
		}
		if seen.path = strings.TrimSuffix(seen.path, "/"); !reflect.DeepEqual(seen, want) {
			t.Errorf("sent\n%+v, want\n%+v", seen, want)
		}
	}
	if testActor.Told["encryption"] != nil {
		t.Error("a question changes what its actor tells")
	}
}

// A MinIO that got a KMS takes the rule that only asks, and must not keep it.
func TestARuleThatWasTakenIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int // of the removal
		kept   bool
	}{
		{"removed", 204, false},
		{"not removed", 500, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, gone := context.WithCancel(t.Context())
			methods := make(chan string, 9)
			client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				methods <- r.Method
				if r.Method == http.MethodDelete {
					gone() // whose client does not wait
					w.WriteHeader(tt.status)
				}
			})
			var kept []string
			client.OnRuleKept(func(bucket string, _ error) { kept = append(kept, bucket) })
			b, write := client.Storage(storage.Credential{}).As(testActor), &storage.Question{Right: storage.WriteRule, Name: sse.Name{Bucket: "b"}}
			if err := b.May(ctx, write); !errors.Is(err, storage.ErrEncrypts) {
				t.Fatal(err)
			}
			if first, second := <-methods, <-methods; first != http.MethodPut || second != http.MethodDelete || tt.kept != slices.Equal(kept, []string{"b"}) {
				t.Errorf("asked by %s, then %s; kept %q", first, second, kept)
			}
			// From now on it is known, and nothing is sent.
			if err := b.May(t.Context(), write); !errors.Is(err, storage.ErrEncrypts) || len(methods) != 0 {
				t.Errorf("the next question: %v, %d requests", err, len(methods))
			}
			if client.NoteKMS(true) || !client.NoteKMS(false) || client.NoteKMS(false) {
				t.Error("what is news about the KMS is not told")
			}
		})
	}
}
