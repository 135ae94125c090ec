package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// ErrBatchAnswer says that MinIO's answer to a question about batch jobs cannot be used.
var ErrBatchAnswer = errors.New("upstream's answer about batch jobs cannot be used")

const (
	// jobList is the path of MinIO's list of batch jobs, whose right is also that of their
	// status.
	jobList = "admin/v3/list-jobs"
	// maxJobList bounds MinIO's own list, in bytes.
	maxJobList = 1 << 20
	// askedJob is a definition that MinIO refuses once it has found that the caller may send
	// one.
	askedJob = "bucketseal: asks whether the caller may start batch jobs\n"
	// batchMetrics is the type of MinIO's metrics that are about batch jobs.
	batchMetrics = "8"
)

// batchRoutes are batch jobs: those of the kind keyrotate are the proxy's own, others that
// MinIO has are shown and can be ended.
func batchRoutes() []row {
	id := []string{"jobId"}
	return []row{
		{Op: "StartBatchJob", Method: "POST", Path: "admin/v3/start-job", Body: smallBody, Handler: startBatchJob},
		{Op: "ListBatchJobs", Method: "GET", Path: jobList, Params: []string{"jobType"}, Handler: listBatchJobs},
		{Op: "DescribeBatchJob", Method: "GET", Path: "admin/v3/describe-job", Params: id, Handler: describeBatchJob},
		{Op: "BatchJobStatus", Method: "GET", Path: "admin/v3/status-job", Params: id, Handler: batchJobStatus},
		{Op: "CancelBatchJob", Method: "DELETE", Path: "admin/v3/cancel-job", Params: []string{"id"}, Handler: cancelBatchJob},
		{Op: "GenerateBatchJob", Method: "GET", Path: "admin/v3/generate-job", Params: []string{"jobType"}, Action: route.Forward},
		{Op: "ServerMetrics", Method: "GET", Path: "admin/v3/metrics", Params: []string{"types", "n", "interval", "hosts", "by-host", "disks", "by-disk", "by-jobID", "by-depID"}, Handler: serverMetrics},
	}
}

// startBatchJob defines a job. The proxy's configuration must let the caller administer keys,
// and use the new one in the bucket; MinIO must let it start batch jobs.
func startBatchJob(a *API, w http.ResponseWriter, r *intake.Request) error {
	if err := a.identities.MayAdministerKeys(r.Caller.Identity); err != nil {
		return err
	}
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	if err := mayStartBatchJobs(a, r); err != nil {
		return err
	}
	spec, err := batchjobs.Parse(body)
	if err != nil {
		return err
	}
	if isReserved(a.o.Reserved, spec.Key) {
		return fmt.Errorf("KMS key %q is reserved: %w", spec.Key, kms.ErrNotPermitted)
	}
	if spec.Key != "" {
		if err := a.identities.MayUse(r.Context(), r.Caller.Identity, spec.Bucket, spec.Key, identity.Generate); err != nil {
			return err
		}
	}
	job, err := a.o.Batch.Start(r.Context(), r.Caller.AccessKey, body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, listed(job, false))
}

// mayStartBatchJobs asks MinIO, as the caller: it judges rights before it reads a definition.
func mayStartBatchJobs(a *API, r *intake.Request) error {
	answer, err := a.askAdminWith(r, []byte(askedJob))
	if err == nil {
		_ = answer.Close()
		return fmt.Errorf("MinIO took a definition that is none: %w", ErrBatchAnswer)
	}
	if said := refusal(err); said != nil && said.Status == http.StatusBadRequest && said.Code == "XMinioAdminInvalidArgument" {
		return nil
	}
	return err
}

// listedJob is a job as MinIO lists it.
type listedJob struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	User    string        `json:"user"`
	Started time.Time     `json:"started"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
}

func listed(job *batchjobs.Job, elapsed bool) listedJob {
	l := listedJob{ID: job.ID, Type: "keyrotate", User: job.User, Started: job.Started}
	if elapsed {
		l.Elapsed = time.Since(job.Started)
	}
	return l
}

// listBatchJobs lists MinIO's own jobs and the proxy's.
func listBatchJobs(a *API, w http.ResponseWriter, r *intake.Request) error {
	answer, err := a.askAdmin(r)
	if err != nil {
		return err
	}
	defer answer.Close()
	data, err := io.ReadAll(io.LimitReader(answer, maxJobList))
	if err != nil {
		return intake.ReadError(err)
	}
	var list struct {
		Jobs []json.RawMessage `json:"jobs"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("list of batch jobs: %w (%w)", ErrBatchAnswer, err)
	}
	if kind := r.Query.Get("jobType"); kind == "" || kind == "keyrotate" {
		own, err := a.o.Batch.List(r.Context())
		if err != nil {
			return err
		}
		for _, job := range own {
			one, err := json.Marshal(listed(job, true))
			if err != nil {
				return fmt.Errorf("encode batch job: %w", err)
			}
			list.Jobs = append(list.Jobs, one)
		}
	}
	return writeJSON(w, http.StatusOK, list)
}

// mayListBatchJobs asks MinIO, as the caller.
func mayListBatchJobs(a *API, r *intake.Request) error {
	return mayAsk(a, r, jobList, url.Values{"jobType": {"keyrotate"}})
}

// mayAsk says whether MinIO answers the caller something, of which the answer is not needed.
func mayAsk(a *API, r *intake.Request, path string, query url.Values) error {
	answer, err := a.o.Forwarder.Forward(r.Context(), r.Actor(), &upstream.Forward{
		Method: http.MethodGet, Bucket: r.Bucket, Key: path, Query: query, Header: make(storage.Metadata), API: upstream.Admin,
	})
	if err != nil {
		return err
	}
	return answer.Close()
}

// describeBatchJob returns a job's definition.
func describeBatchJob(a *API, w http.ResponseWriter, r *intake.Request) error {
	id := r.Query.Get("jobId")
	if !batchjobs.Is(id) {
		return a.forwardAdmin(w, r)
	}
	answer, err := a.askAdmin(r) // who may not is told before that there is no such job
	if err == nil {
		_ = answer.Close()
	}
	if said := refusal(err); err != nil && (said == nil || said.Status != http.StatusNotFound) {
		return err
	}
	job, err := a.o.Batch.Get(r.Context(), id)
	if err != nil {
		return err
	}
	intake.WriteDocument(w, http.StatusOK, "text/plain; charset=utf-8", []byte(job.Text))
	return nil
}

// jobMetric is how a job is, as MinIO says it.
type jobMetric struct {
	JobID         string    `json:"jobID"`
	JobType       string    `json:"jobType"`
	StartTime     time.Time `json:"startTime"`
	LastUpdate    time.Time `json:"lastUpdate"`
	RetryAttempts int       `json:"retryAttempts"`
	Complete      bool      `json:"complete"`
	Failed        bool      `json:"failed"`
	Rotation      struct {
		LastBucket string `json:"lastBucket"`
		LastObject string `json:"lastObject"`
		Objects    int64  `json:"objects"`
		Failed     int64  `json:"objectsFailed"`
	} `json:"rotation"`
}

func metricOf(job *batchjobs.Job) jobMetric {
	m := jobMetric{
		JobID: job.ID, JobType: "keyrotate", StartTime: job.Started, LastUpdate: job.Updated, RetryAttempts: max(job.Runs-1, 0),
		Complete: job.State == batchjobs.Complete, Failed: job.State == batchjobs.Failed,
	}
	if spec, err := batchjobs.Parse([]byte(job.Text)); err == nil {
		m.Rotation.LastBucket = spec.Bucket
	}
	m.Rotation.LastObject, m.Rotation.Objects, m.Rotation.Failed = job.Last, job.Objects, job.Failures
	return m
}

// batchJobStatus says how a job is.
func batchJobStatus(a *API, w http.ResponseWriter, r *intake.Request) error {
	id := r.Query.Get("jobId")
	if !batchjobs.Is(id) {
		return a.forwardAdmin(w, r)
	}
	if err := mayListBatchJobs(a, r); err != nil {
		return err
	}
	job, err := a.o.Batch.Get(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{ LastMetric jobMetric }{metricOf(job)})
}

// cancelBatchJob ends a job. Of one that it does not know MinIO says yes to those who may.
func cancelBatchJob(a *API, w http.ResponseWriter, r *intake.Request) error {
	id := r.Query.Get("id")
	if !batchjobs.Is(id) {
		return a.forwardAdmin(w, r)
	}
	if err := a.identities.MayAdministerKeys(r.Caller.Identity); err != nil {
		return err
	}
	answer, err := a.askAdmin(r)
	if err == nil {
		_ = answer.Close()
	}
	if said := refusal(err); err != nil && (said == nil || said.Status != http.StatusNotFound) {
		return err
	}
	if err := a.o.Batch.Cancel(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// serverMetrics passes MinIO's metrics on, but for those of a job of the proxy's.
func serverMetrics(a *API, w http.ResponseWriter, r *intake.Request) error {
	id := r.Query.Get("by-jobID")
	if !batchjobs.Is(id) || r.Query.Get("types") != batchMetrics {
		return a.forward(w, r, true)
	}
	if err := mayAsk(a, r, r.Key, url.Values{"types": {batchMetrics}, "n": {"1"}, "by-jobID": {id}, "interval": {"1s"}}); err != nil {
		return err
	}
	if _, err := a.o.Batch.Get(r.Context(), id); err != nil {
		return err
	}
	every, err := time.ParseDuration(r.Query.Get("interval"))
	if err != nil || every < time.Second {
		every = time.Second
	}
	n, _ := strconv.Atoi(r.Query.Get("n"))
	return streamMetrics(a, flushingWriter{w}, r, id, every, n)
}

// streamMetrics says how a job is again and again: n times, or with 0 until the client goes.
func streamMetrics(a *API, w http.ResponseWriter, r *intake.Request, id string, every time.Duration, n int) error {
	type jobs struct {
		Collected time.Time            `json:"collected"`
		Jobs      map[string]jobMetric `json:"Jobs"`
	}
	type aggregated struct {
		BatchJobs jobs `json:"batchJobs"`
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	w.Header().Set("Content-Type", "application/json")
	for i := 1; ; i++ {
		job, err := a.o.Batch.Get(r.Context(), id)
		if err != nil {
			return err
		}
		last := n > 0 && i >= n
		err = json.NewEncoder(w).Encode(struct {
			Hosts      []string   `json:"hosts"`
			Aggregated aggregated `json:"aggregated"`
			Final      bool       `json:"final"`
		}{[]string{"bucketseal"}, aggregated{jobs{time.Now().UTC(), map[string]jobMetric{id: metricOf(job)}}}, last})
		if err != nil || last {
			return nil //nolint:nilerr // a client that went away needs no answer
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-ticker.C:
		}
	}
}
