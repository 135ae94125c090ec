package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// maxVersions bounds the answer that lists the versions of a key.
const maxVersions = 4 << 20

// RotateKey implements kms.Service. It is sent with the version that is to be followed,
// so that no lost answer rotates a key twice. kms.ErrNotSupported from a KES.
func (c *Client) RotateKey(ctx context.Context, name string, after uint32) (uint32, error) {
	if after == 0 {
		versions, err := c.KeyVersions(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("rotate key: %w", err)
		}
		after = versions[len(versions)-1].Version
	}
	in := struct {
		After uint32 `json:"after"`
	}{after}
	var out struct {
		Version uint32 `json:"version"`
	}
	if err := c.post(ctx, http.MethodPost, "/v1/key/rotate/", name, in, &out); err != nil {
		return 0, fmt.Errorf("rotate key: %w", err)
	}
	if out.Version <= in.After {
		return 0, fmt.Errorf("rotate key: %w: %w", kms.ErrUnavailable, errNotReadable)
	}
	return out.Version, nil
}

// KeyVersions implements kms.Service. kms.ErrNotSupported from a KES.
func (c *Client) KeyVersions(ctx context.Context, name string) ([]kms.VersionInfo, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return nil, fmt.Errorf("versions of a key: %w", err)
	}
	var out struct {
		Versions []kms.VersionInfo `json:"versions"`
	}
	if err := c.get(ctx, "/v1/key/versions/", name, maxVersions, &out); err != nil {
		return nil, err
	}
	if len(out.Versions) == 0 {
		return nil, fmt.Errorf("versions of a key: %w: %w", kms.ErrUnavailable, errNotReadable)
	}
	return out.Versions, nil
}

// ChangeVersion implements kms.Service. It may be sent again: doing it twice is doing
// it once. kms.ErrNotSupported from a KES.
func (c *Client) ChangeVersion(ctx context.Context, name string, change kms.VersionChange) error {
	if err := kms.ValidateKeyName(name); err != nil {
		return fmt.Errorf("%s version: %w", change.Action, err)
	}
	if change.Action != kms.Retire && change.Action != kms.Reinstate && change.Action != kms.Destroy {
		return fmt.Errorf("%q: %w", change.Action, kms.ErrNotSupported)
	}
	in := struct {
		Version uint32 `json:"version"`
		After   int64  `json:"after_seconds,omitempty"`
		Force   bool   `json:"force,omitempty"`
	}{change.Version, int64((change.After + time.Second - 1) / time.Second), change.Force}
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s version: %w", change.Action, err)
	}
	_, _, err = c.do(ctx, call{method: http.MethodPost, path: "/v1/key/" + string(change.Action) + "/", name: name, body: newSecretBody(text)})
	return err
}
