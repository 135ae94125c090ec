package storage

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/sse"
)

// HasUpload says whether a storage has an upload in parts. An upload of a bucket that does
// not exist does not either. Other errors are those of ListParts.
func HasUpload(ctx context.Context, at Backend, name sse.Name, id string) (bool, error) {
	_, err := at.ListParts(ctx, &ListParts{Upload: Upload{Name: name, ID: id}, Parameters: map[string]string{"max-parts": "1"}})
	if errors.Is(err, ErrNoSuchUpload) || errors.Is(err, ErrNoSuchBucket) {
		return false, nil
	}
	return err == nil, err
}
