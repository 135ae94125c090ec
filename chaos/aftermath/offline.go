package aftermath

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// plain is the folder below Options.Dir that has all current objects as BUCKET/KEY, decrypted without a server.
const plain = "plain"

// offline copies the raw buckets, backs the keys up, and decrypts all from those two alone.
func offline(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	copied, backup, heads := filepath.Join(o.Dir, "copy"), filepath.Join(o.Dir, "keys.age"), filepath.Join(o.Dir, "heads.jsonl")
	if err := os.MkdirAll(copied, 0o700); err != nil {
		return nil, err
	}
	if _, err := c.RunMC(ctx, "", "mirror", "storage", copied); err != nil {
		return nil, err
	}
	said, err := c.RunMC(ctx, "", "stat", "--recursive", "--json", "storage")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(heads, []byte(said), 0o600); err != nil {
		return nil, err
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	passphrase := hex.EncodeToString(b) + "\n"
	if _, err := c.RunOffline(ctx, passphrase, "key", "backup", "--keystore", c.KeyServers[0].Config, "--passphrase", "--output", backup); err != nil {
		return nil, err
	}
	args := []string{"object", "decrypt", "--json", "--from", copied, "--heads", heads, "--backup", backup, "--passphrase", "--output", filepath.Join(o.Dir, plain)}
	for i, key := range o.CustomerKeys {
		file := filepath.Join(o.Dir, fmt.Sprintf("customer-%d.key", i))
		if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--customer-key-file", file)
	}
	out, err := c.RunOffline(ctx, passphrase, args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	found := undecrypted(out)
	if err != nil && len(found) == 0 {
		found = append(found, Finding{"offline", err.Error()})
	}
	differ, err := compareAll(ctx, filepath.Join(o.Dir, plain), c.Ways()[0])
	return append(found, differ...), err
}

// compareAll compares each file of the form BUCKET/KEY with what clients read.
func compareAll(ctx context.Context, folder string, way cluster.Way) ([]Finding, error) {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(way.URL), UsePathStyle: true, Region: way.Region,
		Credentials: credentials.NewStaticCredentialsProvider(way.AccessKey, way.SecretKey, ""),
	})
	var found []Finding
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		bucket, key, _ := strings.Cut(name, "/")
		if strings.Contains(bucket, "@") {
			return nil // older versions, and names that files cannot have
		}
		if err := compareOne(ctx, client, path, bucket, key); err != nil {
			found = append(found, Finding{"offline", name + ": " + err.Error()})
		}
		return ctx.Err()
	})
	return found, err
}

// compareOne compares a file with an object. One with a customer key is compared by who knows that.
func compareOne(ctx context.Context, client *s3.Client, path, bucket, key string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	answer, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	var refused smithy.APIError
	if errors.As(err, &refused) && refused.ErrorCode() == "InvalidRequest" {
		return nil
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	ours, theirs := sha256.New(), sha256.New()
	if _, err := io.Copy(ours, f); err != nil {
		return err
	}
	if _, err := io.Copy(theirs, answer.Body); err != nil {
		return err
	}
	if !bytes.Equal(ours.Sum(nil), theirs.Sum(nil)) {
		return errors.New("offline it has other bytes than clients read")
	}
	return nil
}

// undecrypted are the lines of "object decrypt --json" that tell of an error.
func undecrypted(out string) []Finding {
	var found []Finding
	for line := range strings.Lines(out) {
		var one map[string]any
		if json.Unmarshal([]byte(line), &one) != nil {
			continue
		}
		if said, ok := one["error"].(string); ok && said != "" {
			found = append(found, Finding{"offline", strings.TrimSpace(line)})
		}
	}
	return found
}
