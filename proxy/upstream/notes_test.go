package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// serviceOf is the service access to a MinIO that answers with the handler.
func serviceOf(t *testing.T, handler http.HandlerFunc) *Service {
	t.Helper()
	s, err := fakeMinIO(t, handler).NewService(*testCredential, "system")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whoever took an object without its metadata for none would take what belongs to
// it for nobody's.
func TestNotesListedWithoutTheirContentAreListed(t *testing.T) {
	t.Parallel()
	s := serviceOf(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<ListBucketResult><IsTruncated>true</IsTruncated>
<Contents><Key>uploads/a</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>
<Contents><Key>uploads/b</Key><UserMetadata><X-Amz-Meta-Sealed>text</X-Amz-Meta-Sealed></UserMetadata></Contents></ListBucketResult>`)
	})
	notes, more, err := s.ListNotes(t.Context(), "uploads/", "")
	want := []system.Note{{Name: "uploads/a", Modified: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}, {Name: "uploads/b", Value: "text"}}
	if err != nil || !more || !slices.Equal(notes, want) {
		t.Errorf("%+v, %v, %v", notes, more, err)
	}
}

func TestAPageOfNotesThatIsEmptyAndNotTheLastIsAnError(t *testing.T) {
	t.Parallel()
	s := serviceOf(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>`)
	})
	if notes, _, err := s.ListNotes(t.Context(), "uploads/", ""); !errors.Is(err, storage.ErrListing) {
		t.Errorf("%v, %v", notes, err)
	}
}

func TestAnswersToTheProxyItselfSayWhatTheyMean(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{
		"AccessDenied": system.ErrOwnRights, "InvalidAccessKeyId": system.ErrOwnCredential, "NoSuchBucket": system.ErrNoBucket, "SlowDown": storage.ErrUnreachable,
	} {
		s := serviceOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		})
		if _, _, err := s.ListNotes(t.Context(), "uploads/", ""); !errors.Is(err, want) {
			t.Errorf("a listing of notes, %s: %v", code, err)
		}
		if err := s.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("a check of the storage, %s: %v", code, err)
		}
	}
}

func TestOldVersionsArePrunedAcrossPages(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	const page = 7
	for what, c := range map[string]struct {
		versions int
		age      time.Duration
		want     int // removed
	}{
		"few":                     {versions: keepVersions, age: time.Hour, want: 0},
		"more, and old":           {versions: keepVersions + 20, age: time.Hour, want: 20},
		"more, and young":         {versions: keepVersions + 20, age: time.Second, want: 0},
		"too many, however young": {versions: maxVersions + 3, age: time.Second, want: 3},
	} {
		var mu sync.Mutex
		var gone []string
		s := serviceOf(t, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.Method == http.MethodDelete {
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, q.Get("versionId"))
				w.WriteHeader(http.StatusNoContent)
				return
			}
			from := 0
			_, _ = fmt.Sscanf(q.Get("version-id-marker"), "v%d", &from)
			var b strings.Builder
			end := min(from+page, c.versions)
			fmt.Fprintf(&b, "<ListVersionsResult><IsTruncated>%v</IsTruncated><NextKeyMarker>rules/index</NextKeyMarker><NextVersionIdMarker>v%d</NextVersionIdMarker>", end < c.versions, end)
			for i := from + 1; i <= end; i++ {
				fmt.Fprintf(&b, "<Version><Key>rules/index</Key><VersionId>v%d</VersionId><IsLatest>%v</IsLatest><LastModified>%s</LastModified></Version>",
					i, i == 1, now.Add(-c.age).Format(time.RFC3339))
			}
			_, _ = io.WriteString(w, b.String()+"</ListVersionsResult>")
		})
		reported := 0
		report := func(string, string) { reported++ }
		for _, dryRun := range []bool{true, false} {
			reported = 0
			if err := s.PruneVersions(t.Context(), "rules/", now.Add(-time.Minute), dryRun, report); err != nil || reported != c.want {
				t.Errorf("%s: %d reported, want %d; %v", what, reported, c.want, err)
			}
		}
		if len(gone) != c.want || c.want > 0 && gone[0] != fmt.Sprintf("v%d", c.versions-c.want+1) {
			t.Errorf("%s: removed %q", what, gone)
		}
	}
}
