package workload

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// tool is a client program that people use, or a library.
//
// They send a request again when it fails. Their writes may so happen twice, which is their doing: each
// writes only keys that nobody else writes.
type tool struct {
	name string
	put  func(ctx context.Context, bucket, key string, w history.Write, data []byte) error
	get  func(ctx context.Context, bucket, key string) ([]byte, error)
	stop func()
	mu   sync.Mutex // one operation at a time
	n    history.Write
}

//go:embed boto.py
var botoSource string

// startTools prepares the programs that are there. The Go SDK always is.
func (r *runner) startTools() error {
	t := r.Targets[0]
	r.tools = []*tool{sdkTool(t)}
	dir := filepath.Join(r.Dir, "tools")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if python := r.Programs["python3"]; python != "" && exec.Command(python, "-c", "import boto3").Run() == nil {
		b, err := botoTool(python, t)
		if err != nil {
			return err
		}
		r.tools = append(r.tools, b)
	}
	if mc := r.Programs["mc"]; mc != "" {
		r.tools = append(r.tools, mcTool(mc, dir, t))
	}
	if rclone := r.Programs["rclone"]; rclone != "" {
		r.tools = append(r.tools, rcloneTool(rclone, t))
	}
	return nil
}

func (r *runner) stopTools() {
	for _, t := range r.tools {
		if t.stop != nil {
			t.stop()
		}
	}
}

// program lets one of the programs write or read. Who writes holds the program for that long.
func (c *client) program(ctx context.Context) {
	t := c.r.tools[c.rng.IntN(len(c.r.tools))]
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, longLimit)
	defer cancel()
	o := c.begin(history.Get, c.r.ways[0], bucketS3, c.key("p-"+t.name))
	o.By = t.name
	a := answer{outcome: history.Unknown}
	if c.rng.IntN(2) == 0 {
		t.n++
		o.Kind, o.Write = history.Put, history.Write(1_000_000_000_000+int64(t.name[0])*1_000_000_000)+t.n
		o.Body = history.Body{{Write: o.Write, Len: 32 + c.rng.Int64N(300_000)}}
		c.r.book.note(o.Write, o.Body)
		if err := t.put(ctx, o.Bucket, o.Key, o.Write, bytesOf(o.Body)); err == nil {
			a.outcome = history.OK
		} else {
			a.code = complaint(err)
		}
		c.end(o, a)
		return
	}
	data, err := t.get(ctx, o.Bucket, o.Key)
	switch {
	case errors.Is(err, os.ErrNotExist):
		a.outcome, o.Saw = history.OK, &history.Value{}
	case err == nil:
		// What a program prints has no metadata, so the bytes themselves say which write they are.
		w, _, _ := identify(data)
		a.outcome, o.Saw = history.OK, &history.Value{Write: w, Size: int64(len(data)), Body: c.r.book.recognise(data, w, 0)}
		if w == history.Absent {
			o.Saw.Write = history.Damage
		}
	default:
		a.code = complaint(err)
	}
	c.end(o, a)
}

// environment is the caller's without what is there for other stores.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "RCLONE_") || strings.HasPrefix(v, "MC_")
	})
}

// complaint is how what a program said begins.
func complaint(err error) string {
	return fmt.Sprintf("client: %.300s", strings.Join(strings.Fields(err.Error()), " "))
}

func sdkTool(t Target) *tool {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(t.URL), UsePathStyle: true, Region: t.Region,
		HTTPClient:  newWay(t).client,
		Credentials: credentials.NewStaticCredentialsProvider(t.AccessKey, t.SecretKey, ""),
	})
	return &tool{
		name: "sdk",
		put: func(ctx context.Context, bucket, key string, w history.Write, data []byte) error {
			_, err := client.PutObject(ctx, &s3.PutObjectInput{
				Bucket: &bucket, Key: &key, Body: bytes.NewReader(data),
				Metadata: map[string]string{"chaos-write": strconv.FormatInt(int64(w), 10)},
			})
			return err
		},
		get: func(ctx context.Context, bucket, key string) ([]byte, error) {
			out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				var missing interface{ ErrorCode() string }
				if errors.As(err, &missing) && missing.ErrorCode() == "NoSuchKey" {
					return nil, os.ErrNotExist
				}
				return nil, err
			}
			defer out.Body.Close()
			return io.ReadAll(out.Body)
		},
	}
}

// botoTool is a Python process that takes operations line by line.
func botoTool(python string, t Target) (*tool, error) {
	cmd := exec.Command(python, "-c", botoSource, t.URL, t.AccessKey, t.SecretKey, t.Region)
	cmd.Env = append(environment(), "BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE=true")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReaderSize(out, 1<<20)
	call := func(ask map[string]any) (data []byte, err error) {
		line, err := json.Marshal(ask)
		if err != nil {
			return nil, err
		}
		if _, err := in.Write(append(line, '\n')); err != nil {
			return nil, err
		}
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		var got struct{ Error, Data string }
		if err := json.Unmarshal(text, &got); err != nil {
			return nil, err
		}
		if got.Error == "NoSuchKey" {
			return nil, os.ErrNotExist
		}
		if got.Error != "" {
			return nil, errors.New(got.Error)
		}
		return base64.StdEncoding.DecodeString(got.Data)
	}
	return &tool{
		name: "boto3",
		put: func(_ context.Context, bucket, key string, w history.Write, data []byte) error {
			_, err := call(map[string]any{
				"bucket": bucket, "key": key, "write": strconv.FormatInt(int64(w), 10),
				"data": base64.StdEncoding.EncodeToString(data),
			})
			return err
		},
		get: func(_ context.Context, bucket, key string) ([]byte, error) {
			return call(map[string]any{"bucket": bucket, "key": key})
		},
		stop: func() {
			_ = in.Close()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		},
	}, nil
}

// command runs a program with data at its standard input and returns what it printed.
func command(ctx context.Context, env []string, data []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(environment(), env...)
	cmd.Stdin = bytes.NewReader(data)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if text := errs.String() + out.String(); strings.Contains(text, "does not exist") || strings.Contains(text, "not found") {
			return nil, os.ErrNotExist
		}
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.Bytes(), nil
}

func mcTool(mc, dir string, t Target) *tool {
	u, _ := url.Parse(t.URL)
	u.User = url.UserPassword(t.AccessKey, t.SecretKey)
	env := []string{"MC_HOST_chaos=" + u.String(), "MC_CONFIG_DIR=" + filepath.Join(dir, "mc")}
	return &tool{
		name: "mc",
		put: func(ctx context.Context, bucket, key string, w history.Write, data []byte) error {
			_, err := command(ctx, env, data, mc, "--quiet", "pipe", "--attr", fmt.Sprintf("chaos-write=%d", w), "chaos/"+bucket+"/"+key)
			return err
		},
		get: func(ctx context.Context, bucket, key string) ([]byte, error) {
			return command(ctx, env, nil, mc, "--quiet", "cat", "chaos/"+bucket+"/"+key)
		},
	}
}

func rcloneTool(rclone string, t Target) *tool {
	env := []string{
		"RCLONE_CONFIG=/dev/null", "RCLONE_CONFIG_CHAOS_TYPE=s3", "RCLONE_CONFIG_CHAOS_PROVIDER=Minio",
		"RCLONE_CONFIG_CHAOS_ACCESS_KEY_ID=" + t.AccessKey, "RCLONE_CONFIG_CHAOS_SECRET_ACCESS_KEY=" + t.SecretKey,
		"RCLONE_CONFIG_CHAOS_ENDPOINT=" + t.URL, "RCLONE_CONFIG_CHAOS_REGION=" + t.Region,
	}
	return &tool{
		name: "rclone",
		put: func(ctx context.Context, bucket, key string, w history.Write, data []byte) error {
			_, err := command(ctx, env, data, rclone, "--s3-no-check-bucket", "--metadata",
				"--metadata-set", fmt.Sprintf("chaos-write=%d", w), "rcat", "chaos:"+bucket+"/"+key)
			return err
		},
		get: func(ctx context.Context, bucket, key string) ([]byte, error) {
			data, err := command(ctx, env, nil, rclone, "cat", "chaos:"+bucket+"/"+key)
			if err == nil && len(data) == 0 {
				return nil, os.ErrNotExist // rclone prints nothing for what is not there
			}
			return data, err
		},
	}
}
