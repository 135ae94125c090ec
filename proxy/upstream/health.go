package upstream

import (
	"context"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Health is what MinIO says of itself at one of its health paths.
type Health struct {
	// Status is an HTTP status: 200, or 412 and 503 for what is amiss.
	Status int
	// Header holds what MinIO adds in headers of its own, X-Minio-*.
	Header storage.Metadata
}

// Health asks MinIO at a path below /minio/, as anybody may; with maintenance, whether it
// could spare a server. storage.ErrUnreachable.
func (c *Client) Health(ctx context.Context, path string, maintenance bool) (*Health, error) {
	r := &Request{Method: http.MethodGet, Bucket: "minio", Key: path}
	if maintenance {
		r.set("maintenance", "true")
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer Discard(resp)
	said := &Health{Status: resp.StatusCode, Header: make(storage.Metadata)}
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "X-Minio-") {
			said.Header[name] = values
		}
	}
	return said, nil
}
