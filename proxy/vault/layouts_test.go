package vault

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

// What is remembered of thousands of objects must not hold on to the requests and answers that it
// was cut out of: they are ten times as long.
func TestLayoutsKeepNoRequestAndNoAnswer(t *testing.T) {
	t.Parallel()
	request := strings.Repeat("/bucket/key?versionId=version&X-Amz-Signature=", 20)
	answer := strings.Repeat(`Etag: "0123456789abcdef-2"`, 20)
	within := func(text, whole string) bool {
		at, from := uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(unsafe.Pointer(unsafe.StringData(whole)))
		return at >= from && at < from+uintptr(len(whole))
	}
	asked := objectVersion{sse.Name{Bucket: request[1:7], Key: request[8:11]}, request[22:29]}
	hint := layoutHint{manifest.Ref{Name: asked.name, ETag: answer[7:25]}, answer[6:26]}
	if asked.version != "version" || hint.stored != `"0123456789abcdef-2"` || !within(hint.ref.ETag, answer) {
		t.Fatalf("the test is wrong: %+v %+v", asked, hint)
	}
	var l layouts
	l.remember(asked, hint)
	l.remember(asked, hint)
	if got, ok := l.get(asked); !ok || got != hint || len(l.known) != 1 {
		t.Fatalf("known: %+v", l.known)
	}
	for o, hint := range l.known {
		for _, text := range []string{o.name.Bucket, o.name.Key, o.version, hint.ref.Name.Bucket, hint.ref.Name.Key, hint.ref.ETag, hint.stored} {
			if within(text, request) || within(text, answer) {
				t.Errorf("%q keeps the whole text that it is from", text)
			}
		}
	}
	hint.stored = "another"
	l.remember(asked, hint)
	if got, _ := l.get(asked); got != hint || len(l.known) != 1 {
		t.Errorf("known: %+v", l.known)
	}
}
