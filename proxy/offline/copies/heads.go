package copies

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrHead says that a saved HEAD does not parse.
var ErrHead = errors.New("a saved HEAD does not parse")

// maxHead bounds one saved HEAD in bytes.
const maxHead = 1 << 20

// head is a saved HEAD as tools print it: mc stat --json, and aws s3api head-object.
type head struct {
	// mc's.
	Status   string            `json:"status"`
	Name     string            `json:"name"`
	Size     *int64            `json:"size"`
	ETag     string            `json:"etag"`
	Type     string            `json:"type"`
	Modified time.Time         `json:"lastModified"`
	Version  string            `json:"versionID"`
	Metadata map[string]string `json:"metadata"` // aws's too, whose names have no prefix

	// aws's.
	Length      *int64 `json:"ContentLength"`
	AWSModified string `json:"LastModified"`
	AWSVersion  string `json:"VersionId"`
	ContentType string `json:"ContentType"`
}

// metaPrefix begins the names of what clients store with an object.
const metaPrefix = "X-Amz-Meta-"

// info is the object's, as far as a HEAD tells.
func (h *head) info() storage.Info {
	info := storage.Info{ETag: offline.Unquoted(h.ETag), Size: -1, Modified: h.Modified, Version: h.Version, Meta: make(storage.Metadata)}
	ofAWS := h.Length != nil
	if ofAWS {
		info.Size, info.Version = *h.Length, h.AWSVersion
		info.Modified = awsTime(h.AWSModified)
	} else if h.Size != nil {
		info.Size = *h.Size
	}
	for name, value := range h.Metadata {
		if ofAWS {
			name = metaPrefix + name
		}
		offline.AddMeta(&info, name, value)
	}
	if h.ContentType != "" {
		info.Meta.Set("Content-Type", h.ContentType)
	}
	return info
}

// httpTime is how HTTP writes times.
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// awsTime reads a time as the AWS CLI writes it, of version 1 or 2; zero for none.
func awsTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339, httpTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	return time.Time{}
}

// parseHeads reads saved HEADs one after the other. Their names begin with their bucket's,
// as mc writes them for whole buckets.
func parseHeads(src io.Reader, found func(sse.Name, storage.Info) error) error {
	lines := bufio.NewScanner(src)
	lines.Buffer(make([]byte, 64<<10), maxHead)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		h, err := parseHead([]byte(line))
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if h.Status == "error" {
			return fmt.Errorf("line %d: mc failed when it was written: the list is not whole: %w", number, ErrHead)
		}
		if h.Type == "folder" || h.Name == "" && h.Type != "" {
			continue
		}
		bucket, key, ok := strings.Cut(h.Name, "/")
		if !ok || key == "" || !objectname.ValidBucket(bucket) {
			return fmt.Errorf("line %d: %q does not name a bucket and a key; make it with: mc stat --recursive --json ALIAS: %w", number, h.Name, ErrHead)
		}
		if err := found(objectname.Listed(bucket, key), h.info()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w (%w)", ErrHead, err)
	}
	return nil
}

func parseHead(text []byte) (*head, error) {
	// encoding/json matches names without case: "lastModified" and "LastModified" are told
	// apart by their exact form.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrHead, err)
	}
	h := new(head)
	for name, into := range map[string]any{
		"status": &h.Status, "name": &h.Name, "size": &h.Size, "etag": &h.ETag, "type": &h.Type, "lastModified": &h.Modified, "versionID": &h.Version,
		"metadata": &h.Metadata, "ContentLength": &h.Length, "LastModified": &h.AWSModified, "VersionId": &h.AWSVersion, "ContentType": &h.ContentType,
		"ETag": &h.ETag, "Metadata": &h.Metadata,
	} {
		if raw, ok := fields[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("%s: %w (%w)", name, ErrHead, err)
			}
		}
	}
	return h, nil
}
