package awssecrets

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bucketseal/bucketseal/kms"
)

// owned says whether a secret may be deleted as a key of this store. With
// tags, the tags decide. Without, it is one that this store created, which its
// description tells, or one that KES created, which its value tells: a
// database password whose name happens to be a fit key name stays.
func (s *Store) owned(ctx context.Context, name string, meta *secretsmanager.DescribeSecretOutput) error {
	if service := aws.ToString(meta.OwningService); service != "" {
		return fmt.Errorf("%w: %w: the secret is managed by the AWS service %s", kms.ErrNotPermitted, errForeign, service)
	}
	if len(s.opts.Tags) > 0 {
		if missing := s.missingTag(meta.Tags); missing != "" {
			return fmt.Errorf("%w: %w: the secret does not carry the configured tag %q", kms.ErrNotPermitted, errForeign, missing)
		}
		return nil
	}
	if aws.ToString(meta.Description) == descriptionOfKey {
		return nil
	}
	out, err := s.read(ctx, s.secret(name))
	if err != nil {
		return s.mapError(ctx, s.what("read", name), err)
	}
	value := valueOf(out)
	defer clear(value)
	if !isKeyRecord(value) {
		return fmt.Errorf("%w: %w: the secret's value is no key record", kms.ErrNotPermitted, errForeign)
	}
	return nil
}

// missingTag returns the key of a configured tag that tags lack, or "".
func (s *Store) missingTag(tags []types.Tag) string {
	has := make(map[string]string, len(tags))
	for _, t := range tags {
		has[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for k, v := range s.opts.Tags {
		if got, ok := has[k]; !ok || got != v {
			return k
		}
	}
	return ""
}

// isKeyRecord says whether value has the shape of a key that KES stored:
// base64 of a protobuf message whose first field is a message holding a 32 byte
// key, or the older JSON with the base64 of 32 bytes in "bytes".
func isKeyRecord(value []byte) bool {
	value = bytes.TrimSpace(value)
	if bytes.HasPrefix(value, []byte("{")) {
		var old struct {
			Bytes []byte `json:"bytes"`
		}
		err := json.Unmarshal(value, &old)
		defer clear(old.Bytes)
		return err == nil && len(old.Bytes) == kms.DEKSize
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	defer clear(raw)
	n, err := base64.StdEncoding.Decode(raw, value)
	if err != nil {
		return false
	}
	secret, ok := firstBytes(raw[:n])
	if !ok {
		return false
	}
	key, ok := firstBytes(secret)
	return ok && len(key) == kms.DEKSize
}

// firstBytes returns field 1 of a protobuf message if it is of type bytes and
// everything in the message parses.
func firstBytes(message []byte) ([]byte, bool) {
	var found []byte
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		if num == 1 && typ == protowire.BytesType {
			value, m := protowire.ConsumeBytes(message)
			if m < 0 {
				return nil, false
			}
			found, message = value, message[m:]
			continue
		}
		m := protowire.ConsumeFieldValue(num, typ, message)
		if m < 0 {
			return nil, false
		}
		message = message[m:]
	}
	return found, found != nil
}
