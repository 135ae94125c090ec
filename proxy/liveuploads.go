package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// livenessBatch is how many uploads are asked about at once.
const livenessBatch = 16

// liveness says which of the uploads that the ledger knows upstream has still.
// Their notes go in the background after they ended, and stay where a proxy is killed, or where
// MinIO ends an upload by itself; so a listing asks about those that it shows, which
// costs the writes nothing.
type liveness struct {
	look  sweepLookups
	all   []*manifest.Upload
	from  int // known are those from here on
	known []bool
}

func (s *Server) newLiveness(all []*manifest.Upload) *liveness {
	return &liveness{look: sweepLookups{s}, all: all}
}

// alive says whether upstream has the upload with the index i. Indexes rise.
func (l *liveness) alive(ctx context.Context, i int) (bool, error) {
	if i >= l.from+len(l.known) {
		if err := l.fetch(ctx, i); err != nil {
			return false, err
		}
	}
	return l.known[i-l.from], nil
}

func (l *liveness) fetch(ctx context.Context, from int) error {
	batch := l.all[from:min(from+livenessBatch, len(l.all))]
	known := make([]bool, len(batch))
	group, ctx := errgroup.WithContext(ctx)
	for i, u := range batch {
		group.Go(func() (err error) {
			known[i], err = l.look.UploadExists(ctx, u.Name(), u.ID)
			var answer *storage.Error
			if errors.As(err, &answer) && answer.Status < http.StatusInternalServerError {
				known[i], err = true, nil // an odd name, say: the ledger's word counts
			}
			if err != nil { // the answer was to the proxy, not to the client
				return fmt.Errorf("look up upload: %w (%w)", storage.ErrUnreachable, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l.from, l.known = from, known
	return nil
}
