package lifecycle

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// A proxy that is started over a full storage refuses what would fill it further, and takes
// what makes room.
func TestAFullStorageCanBeEmptied(t *testing.T) {
	t.Parallel()
	for code, mayFree := range map[string]bool{"XMinioStorageFull": true, "InternalError": false} {
		client, service := serviceBefore(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
		})
		f := NewFitness(client, service, func(context.Context) error { return nil }, slog.New(slog.DiscardHandler))
		for need, may := range map[storage.Need]bool{storage.Reads: true, storage.Frees: mayFree, storage.Writes: false} {
			if err := f.Admit(t.Context(), need); (err == nil) != may || err != nil && !errors.Is(err, system.ErrNotReady) {
				t.Errorf("%s, need %d: %v", code, need, err)
			}
		}
	}
}
