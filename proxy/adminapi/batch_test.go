package adminapi_test

import (
	"net/http"
	"strings"
	"testing"
)

const (
	invalidJob = `{"Code":"XMinioAdminInvalidArgument","Message":"Invalid arguments specified."}`
	ownJob     = "keyrotate-bsABCDEFGHIJKLMNOPQRST"
	job        = "keyrotate:\n  apiVersion: v1\n  bucket: bucket\n  encryption:\n    type: sse-kms\n    key: default-key\n"
)

// A job is started by those only who may administer keys by the proxy's configuration, and
// start batch jobs by MinIO's.
func TestWhoMayStartBatchJobs(t *testing.T) {
	t.Parallel()
	const start = "/minio/admin/v3/start-job"
	stage := newAdminStage(t, answering(http.StatusForbidden, denied))
	wantAdminError(t, stage.ask(testOther, http.MethodPost, start, []byte(job)), 403, "AccessDenied")
	wantAdminError(t, stage.ask("", http.MethodPost, start, []byte(job)), 403, "AccessDenied")
	if n := len(stage.requests()); n != 0 {
		t.Errorf("MinIO was asked %d times for somebody who may not", n)
	}
	wantAdminError(t, stage.ask(testRoot, http.MethodPost, start, []byte(job)), 403, "AccessDenied")
	for _, r := range stage.requests() {
		body := make([]byte, 1<<10)
		n, _ := r.Body.Read(body)
		if strings.Contains(string(body[:n]), "keyrotate") {
			t.Errorf("MinIO was given the job: %s", body[:n])
		}
	}
	stage = newAdminStage(t, answering(http.StatusOK, `{"id":"x"}`))
	wantAdminError(t, stage.ask(testRoot, http.MethodPost, start, []byte(job)), 502, "InternalError")

	stage = newAdminStage(t, answering(http.StatusBadRequest, invalidJob))
	wantAdminError(t, stage.ask(testRoot, http.MethodPost, start, []byte(strings.Replace(job, "default-key", "bucketseal-system", 1))), 403, "kms:NotAuthorized")
	w := stage.ask(testRoot, http.MethodPost, start, []byte(job+"  colour: red\n"))
	wantAdminError(t, w, 400, "XMinioAdminInvalidArgument")
	if !strings.Contains(w.Body.String(), "keyrotate.colour") {
		t.Errorf("it does not say what is wrong: %s", w.Body)
	}
	wantAdminError(t, stage.ask(testRoot, http.MethodPost, start, []byte("expire:\n  apiVersion: v1\n")), 501, "NotImplemented")
}

// Who may not see or end MinIO's jobs may not see or end the proxy's.
func TestWhoMaySeeBatchJobs(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(http.StatusForbidden, denied))
	for _, target := range []string{
		"list-jobs?jobType=", "describe-job?jobId=" + ownJob, "status-job?jobId=" + ownJob, "metrics?types=8&n=1&by-jobID=" + ownJob,
		"describe-job?jobId=theirs", "status-job?jobId=theirs", "metrics?types=8&n=1&by-jobID=theirs",
	} {
		before := len(stage.requests())
		wantAdminError(t, stage.ask(testRoot, http.MethodGet, "/minio/admin/v3/"+target, nil), 403, "AccessDenied")
		if len(stage.requests()) != before+1 {
			t.Errorf("%s: MinIO was asked %d times", target, len(stage.requests())-before)
		}
	}
	wantAdminError(t, stage.ask(testRoot, http.MethodDelete, "/minio/admin/v3/cancel-job?id="+ownJob, nil), 403, "AccessDenied")

	stage = newAdminStage(t, answering(http.StatusNotFound, `{"Code":"XMinioAdminNoSuchJob","Message":"The specified job does not exist."}`))
	wantAdminError(t, stage.ask(testRoot, http.MethodGet, "/minio/admin/v3/describe-job?jobId="+ownJob, nil), 404, "XMinioAdminNoSuchJob")
	wantAdminError(t, stage.ask(testRoot, http.MethodDelete, "/minio/admin/v3/cancel-job?id="+ownJob, nil), 404, "XMinioAdminNoSuchJob")
	wantAdminError(t, stage.ask(testOther, http.MethodDelete, "/minio/admin/v3/cancel-job?id="+ownJob, nil), 403, "AccessDenied")
	stage = newAdminStage(t, answering(http.StatusOK, `no list`))
	wantAdminError(t, stage.ask(testRoot, http.MethodGet, "/minio/admin/v3/list-jobs?jobType=", nil), 502, "InternalError")
	stage = newAdminStage(t, answering(http.StatusOK, `{"jobs":[{"id":"replicate-1"}]}`))
	if w := stage.ask(testRoot, http.MethodGet, "/minio/admin/v3/list-jobs?jobType=replicate", nil); w.Code != 200 || !strings.Contains(w.Body.String(), "replicate-1") {
		t.Errorf("MinIO's own jobs: %d %s", w.Code, w.Body)
	}
}
