package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// A bucket has no policy only where MinIO says so, and the proxy may not read it only
// where MinIO says that of this right.
func TestOnlyAnAnswerAboutThePolicyIsTakenForOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   string
		want   error
	}{
		{403, "AccessDenied", storage.ErrForbidden},
		{403, "InvalidAccessKeyId", storage.ErrUnreachable},
		{403, "SignatureDoesNotMatch", storage.ErrUnreachable},
		{403, "RequestTimeTooSkewed", storage.ErrUnreachable},
		{403, "", storage.ErrUnreachable},
		{404, "NoSuchBucketPolicy", nil},
		{404, "NoSuchBucket", nil},
		{404, "", storage.ErrUnreachable},
		{404, "NoSuchKey", storage.ErrUnreachable},
		{503, "SlowDown", storage.ErrUnreachable},
	} {
		service, err := fakeMinIO(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", tt.code)
		}).NewService(*testCredential, "system")
		if err != nil {
			t.Fatal(err)
		}
		document, err := service.Policy(t.Context(), "b")
		if document != nil || !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%d %s: %q, %v", tt.status, tt.code, document, err)
		}
		if tt.want == storage.ErrUnreachable && errors.Is(err, storage.ErrForbidden) {
			t.Errorf("%d %s: taken for a word about the right to read", tt.status, tt.code)
		}
	}
}

func TestAPolicyThatIsTooLargeIsNotTakenForAShorterOne(t *testing.T) {
	t.Parallel()
	service, err := fakeMinIO(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Statement":[]%s}`, strings.Repeat(" ", maxPolicy))
	}).NewService(*testCredential, "system")
	if err != nil {
		t.Fatal(err)
	}
	document, err := service.Policy(t.Context(), "b")
	if err != nil || len(document) != maxPolicy || strings.HasSuffix(string(document), "}") { // and so it does not parse
		t.Errorf("%d bytes, %v", len(document), err)
	}
}
